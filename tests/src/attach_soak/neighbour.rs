//! The neighbour: plugs disks in that are nobody's, or carry a volume's serial, and attaches and detaches in the cloud's UI.

use std::time::Duration;

use uuid::Uuid;

use super::scene::{Phase, Scene};
use super::tally::add;
use crate::{Chance, Hypervisor};

const MIB: u64 = 1 << 20;

/// How long a hypervisor may take to pull a disk out that nobody holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Disturbs until the lanes are done, and takes away what it brought.
pub(super) async fn disturb(scene: &Scene<'_>, mut chance: Chance) {
    while !scene.has_come(Phase::Settling) {
        let [what, pause, stay, which] = [8, 1500, 1200, 1 << 20].map(|n| chance.below(n));
        scene
            .idle_until(Phase::Settling, Duration::from_millis(300 + pause))
            .await;
        let stay = Duration::from_millis(100 + stay);
        let Some(volume) = pick(scene, which) else {
            continue;
        };
        match what {
            0..=2 => {
                let serial = Uuid::from_u128(u128::from(which) << 64 | 1).simple().to_string();
                plug_a_while(scene, "foreign_disk", &serial[..20], 64 * MIB, stay).await;
            }
            3..=4 => plug_a_twin(scene, volume, stay).await,
            5 => in_the_ui(scene, "ui_detach", scene.stranger().detach(volume).await.is_ok()),
            _ => {
                let attached = scene.stranger().attach(volume, scene.vm()).await;
                in_the_ui(scene, "ui_attach", attached.is_ok());
            }
        }
    }
}

fn pick(scene: &Scene<'_>, which: u64) -> Option<Uuid> {
    let volumes = scene.volumes.lock();
    let at = usize::try_from(which).ok()?.checked_rem(volumes.len())?;
    volumes.values().nth(at).copied()
}

/// A disk with the volume's serial and size.
async fn plug_a_twin(scene: &Scene<'_>, volume: Uuid, stay: Duration) {
    let (Some(disk), Some(volume)) = (scene.cloud.disk(volume), scene.cloud.volume(volume)) else {
        return;
    };
    scene.note(volume.id, "a twin is being plugged in");
    plug_a_while(scene, "twin_serial", &disk.serial, volume.size, stay).await;
    scene.note(volume.id, "the twin is out");
}

async fn plug_a_while(scene: &Scene<'_>, kind: &str, serial: &str, size: u64, stay: Duration) {
    let Ok(disk) = scene.stranger().plug_foreign(scene.vm(), serial, size).await else {
        return;
    };
    scene.tally.count(|figures| add(&mut figures.faults, kind));
    scene.idle_until(Phase::Settling, stay).await;
    if let Err(error) = scene.hypervisor.unplug(&disk, PATIENCE).await {
        scene
            .tally
            .violated(format!("the neighbour's disk could not be pulled out: {error}"));
    }
    // What is plugged in no more may go; a directory that is taken away takes the rest.
    let _ = std::fs::remove_file(&disk.image);
}

/// Counts what took effect; what the cloud refuses is nothing.
fn in_the_ui(scene: &Scene<'_>, kind: &str, happened: bool) {
    if happened {
        scene.tally.count(|figures| add(&mut figures.faults, kind));
    }
}
