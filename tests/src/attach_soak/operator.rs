//! The operator: pulls a phantom out at the hypervisor, once the daemon has shown that it is one, and not before.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;
use volume_client::client::ClientError;
use volume_client::types::{ConditionKind, FindingKind, VolumeId};

use super::scene::{Phase, Scene};
use crate::Hypervisor;

/// An operator looks twice: what passes by itself needs nobody.
const BETWEEN_LOOKS: Duration = Duration::from_millis(400);

/// Attends to phantoms until everything is detached.
pub(super) async fn attend(scene: &Scene<'_>) {
    let mut before = BTreeSet::new();
    while !scene.has_come(Phase::Over) {
        scene.idle_until(Phase::Over, BETWEEN_LOOKS).await;
        // A daemon that is not there shows nothing.
        let Ok(shown) = shown(scene).await else { continue };
        for id in shown.intersection(&before) {
            let volume = scene.volumes.lock().get(id).copied();
            if let Some(volume) = volume {
                pull(scene, volume).await;
            }
        }
        before = shown;
    }
}

/// The volumes of which the daemon says that a device is here which the cloud has attached to nothing.
async fn shown(scene: &Scene<'_>) -> Result<BTreeSet<VolumeId>, ClientError> {
    let status = scene.client.status().await?;
    let phantoms = status
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Phantom);
    let mut shown: BTreeSet<_> = phantoms.filter_map(|finding| finding.volume_id).collect();
    let ids: Vec<_> = scene.volumes.lock().keys().copied().collect();
    for id in ids {
        let conditions = scene.client.volume(id).await?.conditions;
        if conditions
            .iter()
            .any(|one| one.kind == ConditionKind::GhostAttached)
        {
            shown.insert(id);
        }
    }
    Ok(shown)
}

/// Pulls the volume's disk out, where it is plugged in and the cloud has it attached to nothing and is not at work on it.
async fn pull(scene: &Scene<'_>, volume: Uuid) {
    let Some(disk) = scene.cloud.disk(volume) else {
        return;
    };
    let is_attached = scene
        .cloud
        .volume(volume)
        .is_some_and(|volume| volume.attachment.is_some());
    let is_worked_on = scene
        .cloud
        .snapshot()
        .jobs
        .iter()
        .any(|job| job.instance == volume && job.is_pending());
    if is_attached || is_worked_on || !scene.hypervisor.plugged().await.contains(&disk) {
        return;
    }
    if scene.stranger().pull(scene.vm(), volume).await.is_ok() {
        scene.note(volume, "the operator pulled it out");
        scene.tally.count(|figures| figures.phantoms += 1);
    }
}
