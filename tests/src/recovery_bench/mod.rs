//! The recovery bench: how long a daemon with many volumes takes from its start to being ready, and from then until all that was
//! in flight when it was killed has ended; how much memory it has; and what one pass of the reconciler costs.
//!
//! The cloud is the tests' own, over loopback, so its answers are quick: what is measured is the daemon's share. The records and
//! the cloud's volumes are made beforehand, without the daemon; the operations are asked for through its API, held up in the
//! cloud, and cut off by SIGKILL.

pub(crate) mod filling;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use volume_client::client::VolumedClient;
use volume_client::types::{NewVolume, ReconcileRequest};

use crate::cloudstack::{Fault, Gate, Hold};
use crate::{Chance, CloudSite, Footprint};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How many passes of the reconciler are asked for.
const PASSES: u64 = 20;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many volumes there are, one measurement each.
    pub volumes: Vec<u32>,
    /// How many operations are in flight when the daemon is killed.
    pub in_flight: u32,
}

/// What one number of volumes came to.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The volumes.
    pub volumes: u32,
    /// The operations that were in flight.
    pub in_flight: u32,
    /// From the start of the process to `/readyz` being ready, nothing in flight, in milliseconds.
    pub start_ms: f64,
    /// The same with the operations in flight.
    pub recovery_ms: f64,
    /// From being ready to the last of them having ended, once the cloud works again.
    pub drained_ms: f64,
    /// Resident memory when it was ready, nothing in flight, in MiB.
    pub idle_mib: f64,
    /// The most resident memory it had while the operations went on.
    pub peak_mib: f64,
    /// Passes of the reconciler that were counted.
    pub passes: u64,
    /// What one pass took on average, in milliseconds.
    pub pass_ms: f64,
}

/// Measures; `None`, loudly, where this is not root.
///
/// # Errors
/// Where anything does not go as it must.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&Measured)) -> Result<Option<Vec<Measured>>> {
    let mut all = Vec::new();
    for &volumes in &plan.volumes {
        let Some(measured) = measure(volumes, plan.in_flight).await? else {
            return Ok(None);
        };
        tell(&measured);
        all.push(measured);
    }
    Ok(Some(all))
}

async fn measure(volumes: u32, in_flight: u32) -> Result<Option<Measured>> {
    let Some(mut site) = CloudSite::new().await else {
        return Ok(None);
    };
    // Once for the database and the installation's id.
    site.daemon.start().await;
    site.daemon.stop().await;
    filling::fill(&site, volumes).await?;

    let began = Instant::now();
    site.daemon.start().await;
    let start_ms = milliseconds(began);
    let idle_mib = Footprint::of(site.daemon.pid())?.rss_mib;
    let (passes, pass_ms) = passes(&site.daemon.client()).await?;

    let gate = Gate::default();
    let held = Fault::Slow(Hold::Until(gate.clone()));
    site.cloud
        .faults()
        .by_chance("createVolume", 1000, held, &mut Chance::from_seed(1));
    let client = site.daemon.client();
    for n in 0..in_flight {
        let new = NewVolume {
            name: format!("in-flight-{n}"),
            size_bytes: 1 << 30,
            source: None,
        };
        client
            .create_volume(&new)
            .await
            .context("an operation was not taken")?;
    }
    site.daemon.kill().await;
    let began = Instant::now();
    site.daemon.start().await;
    let recovery_ms = milliseconds(began);
    let open = client.status().await?.counts.open_operations;
    ensure!(
        open == u64::from(in_flight),
        "of {in_flight} operations {open} are there"
    );
    let began = Instant::now();
    site.cloud.faults().disarm();
    gate.open();
    while client.status().await?.counts.open_operations > 0 {
        ensure!(began.elapsed() < PATIENCE, "they do not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let measured = Measured {
        volumes,
        in_flight,
        start_ms,
        recovery_ms,
        drained_ms: milliseconds(began),
        idle_mib,
        peak_mib: Footprint::of(site.daemon.pid())?.peak_mib,
        passes,
        pass_ms,
    };
    let there = client.status().await?.counts.volumes;
    ensure!(
        there == u64::from(volumes + in_flight),
        "{there} volumes are there at the end"
    );
    Ok(Some(measured))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// What a pass of the reconciler took on average, of `PASSES` that were asked for one after another and those it made by itself.
async fn passes(client: &VolumedClient) -> Result<(u64, f64)> {
    for _ in 0..PASSES {
        client.reconcile(ReconcileRequest { dry_run: false }).await?;
    }
    let metrics = client.metrics().await?;
    let told = |what: &str| {
        let name = format!("volumed_reconcile_seconds_{what} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.with_context(|| format!("the daemon does not tell `{name}`"))
    };
    let count: u64 = told("count")?.trim().parse()?;
    let sum: f64 = told("sum")?.trim().parse()?;
    ensure!(count >= PASSES, "of {PASSES} passes {count} were counted");
    #[allow(clippy::cast_precision_loss, reason = "a small whole number")]
    Ok((count, sum / count as f64 * 1000.0))
}
