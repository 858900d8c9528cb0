//! `kill -9` at random moments of a storm: whatever was under way ends, nothing is left over, and no promise is broken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use parking_lot::Mutex;
use volume_client::client::{ClientError, OperationFilter, VolumeFilter, VolumedClient};
use volume_client::types::{
    AttachVolume, Mapping, NewVolume, Operation, OperationId, OperationKind, OperationStatus, Volume,
    VolumeId, VolumeState,
};
use whole_system_tests::{Appliance, Chance, VM, backing_file};

const MIB: u64 = 1 << 20;
const CLIENTS: u64 = 4;
const KILLS: u64 = 25;
/// Answers that make a storm; on a busy machine it takes more kills until there are so many, up to four times.
const STORM: usize = 20;

/// What the daemon said of each operation that had ended when it was asked.
type Promises = Arc<Mutex<BTreeMap<OperationId, Operation>>>;

/// One client: creates, attaches, detaches and deletes volumes of its own until told to end.
struct Client {
    client: VolumedClient,
    chance: Chance,
    name: String,
    promises: Promises,
    enough: Arc<AtomicBool>,
}

impl Client {
    /// Follows an operation to its end, across however many daemons. `None` where it was refused.
    async fn follow(&self, asked: Result<Operation, ClientError>) -> Option<Operation> {
        let operation = match asked {
            Ok(operation) => operation,
            // Refused for its state, or the outcome is unknown: what counts is looked at in the end.
            Err(error) => {
                let expected = error.outcome_unknown()
                    || matches!(error, ClientError::Problem(_) | ClientError::Unreachable { .. });
                assert!(expected, "{error:?}");
                return None;
            }
        };
        let ended = match self
            .client
            .wait_for_completion(operation.id, Duration::from_secs(60))
            .await
        {
            Ok(ended) => ended,
            Err(ClientError::OperationFailed(ended) | ClientError::OperationCancelled(ended)) => *ended,
            Err(error) => panic!("operation {} of {}: {error:?}", operation.id, self.name),
        };
        self.promises.lock().insert(ended.id, ended.clone());
        Some(ended)
    }

    async fn run(mut self) {
        let mut volumes: Vec<VolumeId> = Vec::new();
        let attach = AttachVolume { vm_id: VM.into() };
        while !self.enough.load(Ordering::Relaxed) {
            let pick = usize::try_from(self.chance.below(volumes.len().max(1) as u64)).unwrap();
            match (volumes.get(pick).copied(), self.chance.below(10)) {
                (None, _) | (_, 0) if volumes.len() < 6 => {
                    let new = NewVolume {
                        name: self.name.clone(),
                        size_bytes: MIB,
                        source: None,
                    };
                    if let Some(ended) = self.follow(self.client.create_volume(&new).await).await {
                        assert_eq!(ended.status, OperationStatus::Completed, "{ended:#?}");
                        volumes.push(ended.volume_id);
                    }
                }
                (Some(id), 1) => {
                    let asked = self.client.delete_volume(id, Some(&self.name)).await;
                    let ended = self.follow(asked).await;
                    if ended.is_some_and(|ended| ended.status == OperationStatus::Completed) {
                        volumes.retain(|&other| other != id);
                    }
                }
                (Some(id), 2..6) => {
                    self.follow(self.client.attach_volume(id, &attach).await).await;
                }
                (Some(id), _) => {
                    self.follow(self.client.detach_volume(id).await).await;
                }
                (None, _) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_with_kills_at_random_moments_leaves_nothing_undecided() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let mut chance = Chance::seeded("storm");
    let (promises, enough) = (Promises::default(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let client = Client {
                client: VolumedClient::builder()
                    .unix(&appliance.setup.socket)
                    .attempts(20)
                    .build()
                    .unwrap(),
                chance: chance.branch(),
                name: format!("of client {n}"),
                promises: Arc::clone(&promises),
                enough: Arc::clone(&enough),
            };
            tokio::spawn(client.run())
        })
        .collect();
    let mut kills = 0;
    while kills < KILLS || (promises.lock().len() <= STORM && kills < 4 * KILLS) {
        kills += 1;
        // The moment is the point: not one that the test could see coming.
        tokio::time::sleep(Duration::from_micros(chance.below(300_000))).await;
        appliance.kill().await;
        // Half of the time the next one dies while it recovers.
        if chance.below(2) == 0 {
            appliance.launch();
            tokio::time::sleep(Duration::from_micros(chance.below(60_000))).await;
            appliance.kill().await;
        }
        appliance.start().await;
    }
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let client = appliance.client();
    let all = |filter| client.list_all_operations(filter).try_collect::<Vec<Operation>>();
    for operation in all(OperationFilter::default()).await.unwrap() {
        if !operation.status.is_final() {
            let _ = client
                .wait_for_completion(operation.id, Duration::from_secs(60))
                .await;
        }
    }
    let operations = all(OperationFilter::default()).await.unwrap();
    assert!(operations.iter().all(|o| o.status.is_final()), "{operations:#?}");
    let volumes: Vec<Volume> = client
        .list_all_volumes(VolumeFilter::default())
        .try_collect()
        .await
        .unwrap();
    let mappings: Vec<Mapping> = client.list_all_mappings().try_collect().await.unwrap();
    let promises = promises.lock().clone();
    let hits = interrupted(&appliance.log());
    eprintln!(
        "storm: {kills} kills and more during recovery, {hits} starts with open operations, {} operations, {} answers, \
         {} volumes, {} attached",
        operations.len(),
        promises.len(),
        volumes.len(),
        mappings.len()
    );
    assert!(promises.len() > STORM, "there was no storm");
    assert!(hits > KILLS / 4, "hardly a kill met an operation");

    assert_answers_hold(&operations, &promises);
    assert_settled(&client, &volumes, &mappings).await;
    // No loop device without a record, no record without its device.
    let recorded: BTreeSet<_> = mappings.iter().map(|m| m.device_path.clone()).collect();
    assert_eq!(recorded.len(), mappings.len(), "{mappings:#?}");
    assert_eq!(appliance.loops().into_iter().collect::<BTreeSet<_>>(), recorded);
    assert_files_are_of(&appliance, &volumes);

    // And everything can still be used.
    for volume in &volumes {
        if volume.state == VolumeState::InUse {
            appliance.detach(volume.id).await;
        }
        let deleted = client
            .delete_and_wait(volume.id, Some(&volume.name), Duration::from_secs(30))
            .await;
        deleted.unwrap();
    }
    assert!(appliance.loops().is_empty());
    assert_files_are_of(&appliance, &[]);
}

/// How many starts found operations that a kill had cut short.
fn interrupted(log: &str) -> u64 {
    let found = log
        .lines()
        .filter(|line| line.contains(" recovered open=") && !line.contains(" open=0 "));
    found.count() as u64
}

/// That what was said of an operation that had ended is what is said now, and that the volumes are as the latest
/// operations said.
#[track_caller]
fn assert_answers_hold(now: &[Operation], promises: &BTreeMap<OperationId, Operation>) {
    let now: BTreeMap<_, _> = now.iter().map(|operation| (operation.id, operation)).collect();
    for (id, then) in promises {
        let now = now
            .get(id)
            .unwrap_or_else(|| panic!("operation {id} is forgotten: {then:#?}"));
        let told = |o: &Operation| (o.status, o.response.clone(), o.error.clone(), o.completed_at);
        assert_eq!(told(now), told(then));
    }
}

async fn assert_settled(client: &VolumedClient, volumes: &[Volume], mappings: &[Mapping]) {
    let filter = |id| OperationFilter {
        volume_id: Some(id),
        ..OperationFilter::default()
    };
    for volume in volumes {
        assert_eq!(volume.operation_id, None, "{volume:#?}");
        let is_mapped = mappings.iter().any(|m| m.volume_id == volume.id);
        let expected = if is_mapped {
            VolumeState::InUse
        } else {
            VolumeState::Available
        };
        assert_eq!(volume.state, expected, "{volume:#?}");
        assert!(volume.conditions.is_empty(), "{volume:#?}");
        let history: Vec<Operation> = client
            .list_all_operations(filter(volume.id))
            .try_collect()
            .await
            .unwrap();
        let completed = |o: &&Operation| o.status == OperationStatus::Completed;
        let last = history.iter().rfind(completed).map(|o| o.kind);
        let attaches = matches!(last, Some(OperationKind::Attach | OperationKind::Correlate));
        assert_eq!(attaches, is_mapped, "{history:#?}");
        if is_mapped {
            let device = client.volume_device(volume.id).await.unwrap();
            let backing = backing_file(&device.device_path).unwrap();
            let own = volume.provider_volume_id.as_ref().unwrap();
            assert!(
                backing.to_str().unwrap().contains(own),
                "{backing:?} is not of {volume:#?}"
            );
        }
    }
}

/// That the files of every volume are there, and those of no other volume.
#[track_caller]
fn assert_files_are_of(appliance: &Appliance, volumes: &[Volume]) {
    let entries = std::fs::read_dir(appliance.setup.local_root.join("volumes"))
        .unwrap()
        .flatten();
    // One without its record was never finished.
    let finished = entries.filter(|entry| entry.path().join("volume.json").exists());
    let there: BTreeSet<_> = finished
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let recorded: BTreeSet<_> = volumes
        .iter()
        .map(|v| v.provider_volume_id.clone().unwrap())
        .collect();
    assert_eq!(there, recorded);
}

/// What a daemon leaves that is killed between making a volume's file and its record.
#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_create_that_was_cut_short_are_gone_after_the_next_start() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    let kept = appliance.create("kept", MIB).await;
    appliance.kill().await;
    let volumes = appliance.setup.local_root.join("volumes");
    let half_made = volumes.join("6e0b5ab1-9d0e-8c3f-a0b4-1f2e3d4c5b6a");
    std::fs::create_dir(&half_made).unwrap();
    let file = std::fs::File::create(half_made.join("disk.raw")).unwrap();
    file.set_len(MIB).unwrap();
    appliance.start().await;
    assert!(
        volumes
            .join(kept.provider_volume_id.unwrap())
            .join("disk.raw")
            .exists()
    );
    assert!(!half_made.exists(), "{} is left", half_made.display());
}
