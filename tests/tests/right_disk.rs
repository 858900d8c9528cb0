//! Never the wrong disk: names that are swapped under readers, and many attaches at once, on real loop devices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use volume_client::client::{ClientError, OpenDevice, VolumedClient};
use volume_client::types::{AttachVolume, ErrorCode, LeaseAccess, LeasePurpose, VolumeId};
use whole_system_tests::{Appliance, Chance, VM, read_marker, write_marker};

const MIB: u64 = 1 << 20;
/// How much later a naive reader opens the path that it was told.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

fn here() -> AttachVolume {
    AttachVolume { vm_id: VM.into() }
}

fn open_to(access: LeaseAccess) -> OpenDevice {
    OpenDevice::new(access, LeasePurpose::Inspection, "a reader")
}

/// Creates a volume whose first block says whose it is.
async fn marked(appliance: &Appliance, name: &str) -> VolumeId {
    let id = appliance.create(name, MIB).await.id;
    appliance.attach(id).await;
    let opened = appliance
        .client()
        .open_device(id, open_to(LeaseAccess::Write))
        .await
        .unwrap();
    write_marker(opened.file(), &id.to_string()).unwrap();
    opened.close().await.unwrap();
    appliance.detach(id).await;
    id
}

#[derive(Debug, Default)]
struct Figures {
    rounds: AtomicU64,
    swaps: AtomicU64,
    blocked: AtomicU64,
    read: AtomicU64,
    refused: AtomicU64,
    wrong: AtomicU64,
    soon: Naive,
    late: Naive,
}

/// What became of reads by a path that was asked for a moment before.
#[derive(Debug, Default)]
struct Naive {
    right: AtomicU64,
    wrong: AtomicU64,
    failed: AtomicU64,
}

impl std::fmt::Display for Naive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (right, wrong, failed) = (said(&self.right), said(&self.wrong), said(&self.failed));
        write!(f, "{right} right, {wrong} wrong, {failed} failed")
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn said(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Opens by the client's proof and reads, again and again.
async fn careful(
    client: VolumedClient,
    volumes: [VolumeId; 2],
    mut chance: Chance,
    figures: Arc<Figures>,
    end: Arc<AtomicBool>,
) {
    while !end.load(Ordering::Relaxed) {
        let id = volumes[usize::from(chance.below(2) == 0)];
        match client.open_device(id, open_to(LeaseAccess::Read)).await {
            Ok(opened) => {
                let found = read_marker(opened.file()).unwrap();
                let right = found.as_deref() == Some(id.to_string().as_str());
                count(if right { &figures.read } else { &figures.wrong });
                assert!(right, "read {found:?} from {:?}", opened.device());
                opened.close().await.unwrap();
            }
            // Not attached, detaching, changed meanwhile, or somebody else reads it: told, and nothing was read.
            Err(
                ClientError::Problem(_)
                | ClientError::DeviceBusy { .. }
                | ClientError::DeviceIo { .. }
                | ClientError::DeviceMismatch(_),
            ) => count(&figures.refused),
            Err(error) => panic!("{error:?}"),
        }
        tokio::time::sleep(Duration::from_micros(chance.below(10_000))).await;
    }
}

/// Asks for the path, and opens it a moment later, as programs do.
async fn naive(
    client: VolumedClient,
    volumes: [VolumeId; 2],
    mut chance: Chance,
    later: Duration,
    figures: &Naive,
    end: &AtomicBool,
) {
    while !end.load(Ordering::Relaxed) {
        let id = volumes[usize::from(chance.below(2) == 0)];
        let Ok(device) = client.volume_device(id).await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        tokio::time::sleep(later).await;
        let found = File::open(&device.device_path).and_then(|file| read_marker(&file));
        match found {
            Ok(Some(owner)) if owner == id.to_string() => count(&figures.right),
            Ok(Some(_)) => count(&figures.wrong),
            Ok(None) | Err(_) => count(&figures.failed),
        }
    }
}

/// Detaches, as often as it takes: readers hold leases.
async fn detach_at_last(client: &VolumedClient, id: VolumeId, figures: &Figures) {
    let began = std::time::Instant::now();
    loop {
        let refused = match client.detach_and_wait(id, PATIENCE).await {
            Ok(_) => return,
            Err(error) => error,
        };
        let held = matches!(
            refused.code(),
            Some(ErrorCode::VolumeLeased | ErrorCode::DeviceBusy)
        );
        assert!(held, "{refused:?}");
        assert!(began.elapsed() < PATIENCE, "never free: {refused:?}");
        count(&figures.blocked);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_swapped_under_a_client_never_give_it_the_wrong_bytes() {
    const ROUNDS: u64 = 80;
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let mut chance = Chance::seeded("swap");
    let volumes = [marked(&appliance, "A").await, marked(&appliance, "B").await];
    let (figures, end) = (Arc::new(Figures::default()), Arc::new(AtomicBool::new(false)));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (client, figures, end) = (appliance.client(), Arc::clone(&figures), Arc::clone(&end));
        readers.push(tokio::spawn(careful(
            client,
            volumes,
            chance.branch(),
            figures,
            end,
        )));
    }
    for later in [SOON, LATE] {
        let (client, figures, end) = (appliance.client(), Arc::clone(&figures), Arc::clone(&end));
        let chance = chance.branch();
        readers.push(tokio::spawn(async move {
            let counts = if later == SOON {
                &figures.soon
            } else {
                &figures.late
            };
            naive(client, volumes, chance, later, counts, &end).await;
        }));
    }

    let client = appliance.client();
    let mut names = [None, None];
    for _ in 0..ROUNDS {
        let first = usize::from(chance.below(2) == 0);
        let mut now = [None, None];
        for n in [first, 1 - first] {
            let bound = client
                .attach_and_wait(volumes[n], &here(), PATIENCE)
                .await
                .unwrap();
            now[n] = Some(bound.device_path);
        }
        if names[0].is_some() && (now[0] == names[1] || now[1] == names[0]) {
            count(&figures.swaps);
        }
        names = now;
        let last = usize::from(chance.below(2) == 0);
        for n in [1 - last, last] {
            detach_at_last(&client, volumes[n], &figures).await;
        }
        count(&figures.rounds);
        if readers.iter().any(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    end.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    eprintln!(
        "swap: {} rounds, {} of them with a name of the other volume; client: {} reads right, {} wrong, {} refused; \
         {} detaches refused under a reader; naive reader: after {SOON:?} {}; after {LATE:?} {}",
        said(&figures.rounds),
        said(&figures.swaps),
        said(&figures.read),
        said(&figures.wrong),
        said(&figures.refused),
        said(&figures.blocked),
        figures.soon,
        figures.late,
    );
    assert_eq!(said(&figures.wrong), 0);
    assert!(
        said(&figures.swaps) > ROUNDS / 10,
        "names were hardly swapped: {figures:?}"
    );
    assert!(
        said(&figures.read) > ROUNDS / 2,
        "hardly anything was read: {figures:?}"
    );
    assert!(appliance.loops().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_attaches_with_eight_at_once_never_give_a_wrong_device() {
    const LANES: u64 = 8;
    const CYCLES: u64 = 25;
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let mut lanes = Vec::new();
    let nodes = Arc::new(parking_lot::Mutex::new(BTreeSet::new()));
    let mut ids = Vec::new();
    for lane in 0..LANES {
        ids.push(marked(&appliance, &format!("lane {lane}")).await);
    }
    let began = std::time::Instant::now();
    for id in ids {
        let (client, nodes) = (appliance.client(), Arc::clone(&nodes));
        lanes.push(tokio::spawn(async move {
            let mut right = 0;
            for _ in 0..CYCLES {
                let bound = client.attach_and_wait(id, &here(), PATIENCE).await.unwrap();
                let opened = client.open_device(id, open_to(LeaseAccess::Read)).await.unwrap();
                assert_eq!(opened.device().device_path, bound.device_path);
                assert_eq!(
                    read_marker(opened.file()).unwrap(),
                    Some(id.to_string()),
                    "{bound:?}"
                );
                opened.close().await.unwrap();
                nodes.lock().insert(bound.device_path);
                client.detach_and_wait(id, PATIENCE).await.unwrap();
                right += 1;
            }
            right
        }));
    }
    let mut right = 0;
    for lane in lanes {
        right += lane.await.unwrap();
    }
    let took = began.elapsed();
    let left = appliance.loops().len();
    eprintln!(
        "cycles: {right} of {} right, {LANES} at once, 0 wrong, {left} devices left, {} names, {:.1} s",
        LANES * CYCLES,
        nodes.lock().len(),
        took.as_secs_f64()
    );
    assert_eq!((right, left), (LANES * CYCLES, 0));
    let client = appliance.client();
    assert_eq!(client.list_mappings(&Default::default()).await.unwrap().items, []);
}
