//! Turmoil: callers that heed no rule, faults by chance, restarts; the database stays one that CloudStack could have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use whole_system_tests::Chance;
use whole_system_tests::cloudstack::{ElsewhereHypervisor, Fault, Hold, Moment, VolumeState, World};
use whole_system_tests::wait_until;

use crate::cloud::{Cloud, SOON};

const CALLERS: usize = 6;
const CALLS: usize = 150;

fn assert_possible(world: &World) {
    let mut slots = BTreeSet::new();
    for volume in &world.volumes {
        let Some(attachment) = volume.attachment else {
            continue;
        };
        assert!(!volume.removed, "a removed volume is attached: {volume:?}");
        assert_ne!(attachment.device_id, 3, "the CD-ROM's: {volume:?}");
        assert!(
            slots.insert((attachment.vm, attachment.device_id)),
            "a slot has two volumes: {world:#?}"
        );
        assert_ne!(
            volume.state,
            VolumeState::Attaching,
            "attached before success: {volume:?}"
        );
    }
    let jobs: BTreeSet<_> = world.jobs.iter().map(|job| job.id).collect();
    assert_eq!(jobs.len(), world.jobs.len(), "two jobs have one id");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_the_database_stays_possible() {
    let mut chance = Chance::seeded("turmoil");
    let cloud = Arc::new(Cloud::start().await);
    let second = cloud
        .server
        .stranger()
        .create_vm("second", Arc::new(ElsewhereHypervisor::default()));
    let mut volumes = Vec::new();
    for number in 0..5 {
        volumes.push(cloud.create(&format!("v{number}")).await);
    }
    let briefly = || Hold::For(Duration::from_millis(5));
    let faults = cloud.server.faults();
    for (command, per_mille, fault) in [
        ("attachVolume", 100, Fault::LoseAnswer),
        ("attachVolume", 100, Fault::Duplicate(briefly())),
        ("attachVolume", 50, Fault::Restart(Moment::AfterHypervisor)),
        ("attachVolume", 100, Fault::Slow(briefly())),
        ("detachVolume", 100, Fault::LateDetach(briefly())),
        ("detachVolume", 100, Fault::StragglingDetach(briefly())),
        ("detachVolume", 50, Fault::Restart(Moment::BeforeHypervisor)),
        ("detachVolume", 100, Fault::Delay(briefly())),
        ("resizeVolume", 100, Fault::LoseRequest),
    ] {
        faults.by_chance(command, per_mille, fault, &mut chance);
    }
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(disturb(cloud.clone(), volumes.clone(), second, chance.branch())))
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    wait_until("the last job", SOON, async || {
        let world = cloud.server.snapshot();
        assert_possible(&world);
        world.jobs.iter().all(|job| !job.is_pending()).then_some(())
    })
    .await;
    let world = cloud.server.snapshot();
    assert_eq!(sent(&world), volumes.len() + CALLERS * CALLS);
    assert!(
        world.jobs.len() > CALLERS * CALLS / 4,
        "{} jobs",
        world.jobs.len()
    );
    let mut transitional = world.volumes.iter().filter(|volume| {
        !matches!(
            volume.state,
            VolumeState::Ready | VolumeState::Allocated | VolumeState::Expunged
        )
    });
    assert_eq!(transitional.next(), None, "nothing is under way");
}

/// The requests that the callers sent, but for what they asked about jobs.
fn sent(world: &World) -> usize {
    let sent = world.received.iter().filter(|request| !request.is_copy);
    sent.filter(|request| request.command != "queryAsyncJobResult")
        .count()
}

/// Calls at random and looks at the world after each.
async fn disturb(cloud: Arc<Cloud>, volumes: Vec<Uuid>, second: Uuid, mut chance: Chance) {
    for _ in 0..CALLS {
        let at = usize::try_from(chance.below(volumes.len() as u64)).unwrap();
        let id = volumes[at].to_string();
        let vm = if chance.below(3) == 0 {
            second.to_string()
        } else {
            cloud.vm()
        };
        let gib = (1 + chance.below(3)).to_string();
        let (command, params) = match chance.below(10) {
            0..=4 => (
                "attachVolume",
                vec![("id", id.as_str()), ("virtualmachineid", &vm)],
            ),
            5..=7 => ("detachVolume", vec![("id", id.as_str())]),
            8 => ("resizeVolume", vec![("id", id.as_str()), ("size", &gib)]),
            _ => ("listVolumes", vec![("virtualmachineid", vm.as_str())]),
        };
        // Lost or refused: all the same here.
        let _ = cloud.user.post(&cloud.user.signed(command, &params)).await;
        assert_possible(&cloud.server.snapshot());
    }
}
