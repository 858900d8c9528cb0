//! The attach bench: how long the daemon takes from the kernel's uevent to a committed mapping, beside a poller as peers have one.
//!
//! Both see the same attaches. The daemon's share is read from its own histogram; the poller's wait is counted from the
//! same uevent, which this process hears on the kernel's netlink group as the daemon does, and tells by `DISKSEQ`.
//!
//! The poller looks once a second, at a phase by chance for each attach, and finds the device in sysfs at the first look
//! after it came. That is less than peers wait: they begin to look only when the cloud has answered.

mod histogram;
mod poller;
pub(crate) mod summary;
mod uevents;

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use volume_client::types::{AttachVolume, VolumeId};

use crate::{Chance, CloudSite};
use histogram::Histogram;
use summary::Percentiles;
use uevents::Uevents;

/// The daemon's histogram of what is measured.
const METRIC: &str = "volumed_uevent_to_bound_seconds";

/// Attaches before any is counted.
const WARM_UP: u32 = 5;

/// How long an attach and a detach may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many attaches.
    pub cycles: u32,
    /// How often the daemon asks the cloud for the attach's job: until it says that it is done, nothing is bound.
    pub poll_interval: Duration,
    /// What the poller's phases begin with.
    pub seed: u64,
}

/// What was measured. Times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// How many attaches were counted.
    pub cycles: u32,
    /// `cloudstack.poll_interval_ms` of the daemon, and this many milliseconds.
    pub poll_interval_ms: u64,
    /// From the uevent to the committed mapping, by linear interpolation inside the histogram's buckets.
    pub ours: Percentiles,
    /// From the same uevent to the poller's look that found the device.
    pub poller: Percentiles,
    /// The poller's by ours, at the median.
    pub ratio_p50: f64,
    /// The poller's by ours, at the 99th percentile.
    pub ratio_p99: f64,
    /// The poller's waits, in the order of the attaches.
    pub waits: Vec<f64>,
}

/// Measures; `None`, loudly, where this is not root.
///
/// # Errors
/// Where an attach or a detach fails, or was not seen by all who measure.
pub async fn run(plan: &Plan) -> anyhow::Result<Option<Measured>> {
    let Some(mut site) = CloudSite::new().await else {
        return Ok(None);
    };
    let interval = plan.poll_interval.as_millis().to_string();
    let key = "VOLUMED_CLOUDSTACK_POLL_INTERVAL_MS";
    site.daemon.setup.environment.push((key, interval));
    site.daemon.start().await;
    let uevents = Uevents::listen()?;
    let mut chance = Chance::from_seed(plan.seed);
    let id = site.daemon.create("bench", 1 << 30).await.id;
    for _ in 0..WARM_UP {
        attach_once(&site, &uevents, id, &mut chance).await?;
    }
    let before = histogram(&site).await?;
    let mut waits = Vec::new();
    for _ in 0..plan.cycles {
        waits.push(attach_once(&site, &uevents, id, &mut chance).await?);
    }
    let ours = histogram(&site).await?.since(&before);
    site.assert_well_behaved();
    let counted = ours.count();
    ensure!(
        counted == u64::from(plan.cycles),
        "the daemon counted {counted} of {} attaches",
        plan.cycles
    );
    Ok(Some(measured(plan, &ours, waits)))
}

/// Attaches the volume while the poller looks for it, and detaches it; how long the poller waited from the uevent.
async fn attach_once(
    site: &CloudSite,
    uevents: &Uevents,
    id: VolumeId,
    chance: &mut Chance,
) -> anyhow::Result<Duration> {
    let client = site.daemon.client();
    let cloud_id = site.cloud_id(id).await;
    let disk = site.cloud.disk(cloud_id).context("the volume has a disk")?;
    let phase = Duration::from_micros(chance.below(1_000_000));
    let polling = tokio::spawn(poller::find(disk.image, phase));
    let vm_id = site.cloud.vm_id().to_string();
    let attached = client
        .attach_and_wait(id, &AttachVolume { vm_id }, PATIENCE)
        .await?;
    let diskseq = attached.diskseq.context("the kernel has no DISKSEQ")?;
    let found = tokio::time::timeout(PATIENCE, polling)
        .await
        .context("the poller found nothing")??;
    let announced = uevents.at(diskseq).context("no uevent named the disk")?;
    client.detach_and_wait(id, PATIENCE).await?;
    Ok(found.saturating_duration_since(announced))
}

async fn histogram(site: &CloudSite) -> anyhow::Result<Histogram> {
    let text = site.daemon.client().metrics().await?;
    Histogram::read(&text, METRIC)
}

fn measured(plan: &Plan, ours: &Histogram, waits: Vec<Duration>) -> Measured {
    let waits: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1e3).collect();
    let ours = Percentiles::of(|share| ours.percentile(share) * 1e3);
    let poller = Percentiles::of(|share| summary::percentile(&waits, share));
    Measured {
        cycles: plan.cycles,
        poll_interval_ms: u64::try_from(plan.poll_interval.as_millis()).unwrap_or(u64::MAX),
        ratio_p50: poller.p50 / ours.p50,
        ratio_p99: poller.p99 / ours.p99,
        ours,
        poller,
        waits,
    }
}
