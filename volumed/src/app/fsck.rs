//! `volumed fsck`: looks at the database, and at cloud and kernel, beside whatever daemon runs.

use std::sync::Arc;
use std::time::Duration;

use super::parts::{open_cloud, watcher_config};
use crate::cloud::Cloud;
use crate::config::Config;
use crate::device::{InventoryFeed, SysRoot, Watcher, boot_id};
use crate::fsck::{FsckFinding, FsckReport, examine_records};
use crate::{reconcile, store};

/// How long cloud and kernel may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Examines the database of this configuration. Changes nothing.
pub async fn fsck(config: Config) -> FsckReport {
    let path = config.database.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut report = FsckReport::default();
        let is_readable = database(&path, &mut report);
        (report, is_readable)
    });
    let (mut report, is_readable) = looked
        .await
        .unwrap_or_else(|panic| (could_not("look at the database", &panic), false));
    if is_readable && let Err(why) = world(&config, &mut report).await {
        report
            .unseen
            .push(format!("the volumes against cloud and kernel: {why}"));
    }
    report
}

fn could_not(what: &str, why: &dyn std::fmt::Display) -> FsckReport {
    FsckReport {
        unseen: vec![format!("could not {what}: {why}")],
        ..FsckReport::default()
    }
}

/// The file and its rows; whether the rows can be read.
fn database(path: &std::path::Path, report: &mut FsckReport) -> bool {
    if store::is_in_use(path) {
        report
            .notes
            .push("a daemon runs on it: what it is at work on is between two states".to_owned());
    }
    let conn = match store::examine(path) {
        Ok(conn) => conn,
        Err(error) if error.is_fatal() => {
            let why = causes(&error);
            let meaning = "the daemon refuses it; its rows were not examined";
            let advice = format!("`volumed restore --database {} --from BACKUP`", path.display());
            report.findings.push(FsckFinding::new(why, meaning, advice));
            return false;
        }
        Err(error) => {
            report.unseen.push(causes(&error));
            return false;
        }
    };
    let boot = boot_id(&SysRoot::default()).unwrap_or_default();
    match examine_records(&conn, &boot) {
        Ok(found) => report.findings.extend(found),
        Err(error) => report.unseen.push(format!("the rows: {}", causes(&error))),
    }
    true
}

/// Each volume against cloud and kernel.
async fn world(config: &Config, report: &mut FsckReport) -> Result<(), String> {
    let cloud = open_cloud(config).await.map_err(|error| causes(&error))?;
    let watching = watcher_config(config.devices);
    let started = tokio::task::spawn_blocking(|| Watcher::start(watching)).await;
    let (watcher, feed) = started
        .map_err(|panic| panic.to_string())?
        .map_err(|error| causes(&error))?;
    let compared = tokio::time::timeout(PATIENCE, compare(config, &cloud, &feed)).await;
    if tokio::task::spawn_blocking(move || watcher.stop()).await.is_err() {
        tracing::warn!("stopping the device watcher panicked");
    }
    let found = compared.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))??;
    report.findings.extend(found);
    Ok(())
}

async fn compare(
    config: &Config,
    cloud: &Arc<dyn Cloud>,
    feed: &InventoryFeed,
) -> Result<Vec<FsckFinding>, String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    feed.rescan(deadline).await.map_err(|error| error.to_string())?;
    let own_vm = cloud.own_vm().await.map_err(|error| causes(&error))?;
    let seen = reconcile::Seen::of(&**cloud, feed)
        .await
        .map_err(|error| causes(&error))?;
    let path = config.database.clone();
    let read = tokio::task::spawn_blocking(move || {
        let conn = store::open_reader(&path)?;
        Ok::<_, store::StoreError>((
            store::meta::get(&conn, "vm_id")?,
            reconcile::compare(&seen, &conn)?,
        ))
    });
    let read = read.await.map_err(|panic| panic.to_string())?;
    let (vm, findings) = read.map_err(|error| causes(&error))?;
    let mut found: Vec<FsckFinding> = Vec::new();
    if let Some(vm) = vm.filter(|vm| *vm != own_vm) {
        found.push(FsckFinding::new(
            format!("the database was made in VM `{vm}`, and this is `{own_vm}`"),
            "two daemons would own the same volumes; a daemon does not start on it",
            "give this machine a database of its own, or `volumed restore --other-vm` where it took the other one's place",
        ));
    }
    for disagreement in findings {
        let volume = match (disagreement.volume_id, &disagreement.provider_volume_id) {
            (Some(id), _) => format!("volume {id}"),
            (None, Some(reference)) => format!("the cloud's volume {reference}"),
            (None, None) => "no volume".to_owned(),
        };
        found.push(FsckFinding::new(
            format!(
                "{volume}: record: {}; cloud: {}; kernel: {}",
                disagreement.record, disagreement.cloud, disagreement.kernel
            ),
            format!("{:?}", disagreement.kind),
            disagreement.repair,
        ));
    }
    Ok(found)
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
