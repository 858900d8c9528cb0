//! Putting right what went wrong, as a user does: every volume is detached, by the daemon or where the cloud is at odds with it.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use uuid::Uuid;
use volume_client::client::VolumeFilter;
use volume_client::types::{Volume, VolumeState};

use super::PAUSE;
use super::operation::{BOUND, Order};
use super::scene::Scene;
use crate::{Disk, Hypervisor as _};

/// How long everything stays at rest before it counts: longer than any fault holds back a call that a client has long given up.
const STANDING: Duration = Duration::from_millis(1500);

/// Detaches everything; what cannot be is noted.
pub(super) async fn detach_all(scene: &Scene<'_>) {
    let began = Instant::now();
    let mut at_rest_since = None;
    loop {
        let listed: Result<Vec<Volume>, _> = scene
            .client
            .list_all_volumes(VolumeFilter::default())
            .try_collect()
            .await;
        let left: Vec<_> = match listed {
            Ok(volumes) => {
                let plugged = scene.hypervisor.plugged().await;
                volumes
                    .into_iter()
                    .filter(|volume| !is_at_rest(scene, &plugged, volume))
                    .collect()
            }
            Err(_) if began.elapsed() < BOUND => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                return scene
                    .tally
                    .violated(format!("the volumes cannot be listed: {error}"));
            }
        };
        if left.is_empty() {
            if at_rest_since.get_or_insert_with(Instant::now).elapsed() < STANDING {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            // What stuck in the storage when it was deleted, the cloud expunges by itself within a day.
            return scene.stranger().purge();
        }
        at_rest_since = None;
        if began.elapsed() > BOUND {
            return scene
                .tally
                .violated(format!("cannot be brought to rest within {BOUND:?}: {left:?}"));
        }
        for volume in &left {
            put_right(scene, volume).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether it is attached nowhere: by the records, by the cloud and by the hypervisor. A disk that a server forgot when it
/// restarted is the operator's, who waits until the daemon shows it.
fn is_at_rest(scene: &Scene<'_>, plugged: &[Disk], record: &Volume) -> bool {
    let is_idle = record.state == VolumeState::Available && record.operation_id.is_none();
    let id = record
        .provider_volume_id
        .as_ref()
        .and_then(|text| text.parse().ok());
    let is_attached = |id: Uuid| {
        scene
            .cloud
            .volume(id)
            .is_some_and(|volume| volume.attachment.is_some())
    };
    let is_plugged = |id: Uuid| scene.cloud.disk(id).is_some_and(|disk| plugged.contains(&disk));
    is_idle && !id.is_some_and(|id| is_attached(id) || is_plugged(id))
}

async fn put_right(scene: &Scene<'_>, record: &Volume) {
    match record.state {
        VolumeState::InUse => {
            scene.carry_out(Order::Detach(record.id)).await;
        }
        // Attached by the neighbour: what the daemon says of it is to take it over, or to detach it in the cloud.
        VolumeState::Available if record.operation_id.is_none() => {
            let id = scene.volumes.lock().get(&record.id).copied();
            if let Some(id) = id {
                // The cloud may refuse while it is at work; then again.
                let _ = scene.stranger().detach(id).await;
            }
        }
        _ => {}
    }
}
