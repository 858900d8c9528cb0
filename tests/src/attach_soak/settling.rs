//! Putting right what went wrong, as a user does: every volume is detached, by the daemon or where the cloud is at odds with it.

use std::time::Instant;

use futures_util::TryStreamExt as _;
use volume_client::client::VolumeFilter;
use volume_client::types::{Volume, VolumeState};

use super::PAUSE;
use super::operation::{BOUND, Order};
use super::scene::Scene;

/// Detaches everything; what cannot be is noted.
pub(super) async fn detach_all(scene: &Scene<'_>) {
    let began = Instant::now();
    loop {
        let listed: Result<Vec<Volume>, _> = scene
            .client
            .list_all_volumes(VolumeFilter::default())
            .try_collect()
            .await;
        let left: Vec<_> = match listed {
            Ok(volumes) => volumes
                .into_iter()
                .filter(|volume| !is_at_rest(scene, volume))
                .collect(),
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
            // What stuck in the storage when it was deleted, the cloud expunges by itself within a day.
            return scene.stranger().purge();
        }
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

fn is_at_rest(scene: &Scene<'_>, record: &Volume) -> bool {
    let is_idle = record.state == VolumeState::Available && record.operation_id.is_none();
    is_idle && !is_attached_in_cloud(scene, record)
}

fn is_attached_in_cloud(scene: &Scene<'_>, record: &Volume) -> bool {
    let id = record
        .provider_volume_id
        .as_ref()
        .and_then(|text| text.parse().ok());
    let volume = id.and_then(|id| scene.cloud.volume(id));
    volume.is_some_and(|volume| volume.attachment.is_some())
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
