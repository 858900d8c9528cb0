//! Whether records, cloud and kernel agree, and nothing is there that should not be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use uuid::Uuid;
use volume_client::client::VolumeFilter;
use volume_client::types::{FindingKind, Volume, VolumeState};

use crate::CloudSite;

/// How long the world may take to agree once nothing is done any more.
const SETTLING: Duration = Duration::from_secs(30);

/// What does not agree, after a while.
pub(super) async fn disagreements(site: &CloudSite) -> Vec<String> {
    let began = std::time::Instant::now();
    loop {
        let found = disagreements_now(site).await;
        if found.is_empty() || began.elapsed() > SETTLING {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn disagreements_now(site: &CloudSite) -> Vec<String> {
    let client = site.daemon.client();
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => return vec![format!("the daemon does not answer: {error}")],
    };
    let records: Vec<Volume> = match client
        .list_all_volumes(VolumeFilter::default())
        .try_collect()
        .await
    {
        Ok(records) => records,
        Err(error) => return vec![format!("the volumes cannot be listed: {error}")],
    };
    let mut found = Vec::new();
    let counts = &status.counts;
    if counts.open_operations + counts.leases > 0 {
        found.push(format!(
            "operations or leases are left: {counts:?} {:?}",
            status.operations
        ));
    }
    // Disks of other tests on this machine are strangers here.
    let ours = status
        .findings
        .iter()
        .filter(|one| one.kind != FindingKind::ForeignDevice);
    found.extend(ours.map(|finding| format!("found: {finding:?}")));

    let world = site.cloud.snapshot();
    let in_cloud: BTreeMap<Uuid, bool> = world
        .volumes
        .iter()
        .filter(|volume| !volume.removed && !volume.is_root)
        .map(|volume| (volume.id, volume.attachment.is_some()))
        .collect();
    let recorded: BTreeMap<Uuid, &Volume> = records
        .iter()
        .filter_map(|record| Some((record.provider_volume_id.as_ref()?.parse().ok()?, record)))
        .collect();
    if recorded.len() != records.len() {
        found.push(format!("a volume has no id of the cloud's: {records:?}"));
    }
    let there: BTreeSet<&Uuid> = in_cloud.keys().collect();
    let here: BTreeSet<&Uuid> = recorded.keys().collect();
    for id in there.symmetric_difference(&here) {
        found.push(format!(
            "volume {id} is in the cloud or in the records, not in both"
        ));
    }
    let mut attached = 0;
    for (id, record) in &recorded {
        let is_attached = in_cloud.get(id).copied().unwrap_or_default();
        attached += u64::from(is_attached);
        let fits = match record.state {
            VolumeState::Available => !is_attached,
            VolumeState::InUse => is_attached,
            _ => false,
        };
        if !fits {
            found.push(format!(
                "attached in the cloud: {is_attached}, recorded: {record:?}"
            ));
        }
    }
    if (counts.mapped, counts.pinned) != (attached, attached) {
        found.push(format!("{attached} are attached, but {counts:?}"));
    }
    let plugged = site.cloud.stranger().plugged(site.cloud.vm_id()).await;
    if plugged.len() as u64 != attached {
        found.push(format!("{attached} are attached, but plugged in are {plugged:?}"));
    }
    found
}
