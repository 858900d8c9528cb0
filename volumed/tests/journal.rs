//! Every operation, cut off at every line of its journal, goes on to its end at the next start, and all views agree then.
//!
//! A trigger in the database refuses the next line, so an operation stands at exactly that point: the effect of the step
//! there with its end not recorded, or the step not begun. Then the runtime is dropped, as a crash would, and the daemon's
//! inside starts anew on the same database, the same cloud and the same kernel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use support::{Place, Running, VM, attach};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use volumed::cloud::{Call, NewVolume};
use volumed::device::{KernelMachine, Watcher, WatcherConfig};
use volumed::model::{
    Bytes, OperationId, OperationKind, OperationStatus, Request, SnapshotId, SnapshotState, StepState,
    VolumeId, VolumeState,
};
use volumed::operation::{Observer, Operations, Parts, Settings};
use volumed::store::{self, Store, StoreError};

const MIB: u64 = 1 << 20;

/// Tells which steps have run to their end.
#[derive(Clone)]
struct Seen(watch::Sender<Vec<&'static str>>);

impl Observer for Seen {
    fn operation_finished(&self, _: OperationKind, _: OperationStatus, _: Duration) {}

    fn step_finished(&self, _: OperationKind, step: &'static str, outcome: &'static str, _: Duration) {
        if outcome == "done" {
            self.0.send_modify(|steps| steps.push(step));
        }
    }

    fn correlated(&self, _: Duration) {}

    fn bound(&self, _: Duration) {}
}

/// One run of the daemon's inside, in a runtime that can be dropped under it.
struct Daemon {
    runtime: Runtime,
    run: Running,
    seen: Seen,
}

impl Daemon {
    fn start(place: &Place) -> Self {
        let runtime = Runtime::new().unwrap();
        let seen = Seen(watch::Sender::new(Vec::new()));
        let run = runtime.block_on(async {
            let store = open(place).await;
            let (watcher, feed) = Watcher::start(WatcherConfig::default()).unwrap();
            let parts = Parts {
                store: store.clone(),
                cloud: Arc::clone(&place.cloud),
                feed: feed.clone(),
                machine: Arc::new(KernelMachine::default()),
                observer: Arc::new(seen.clone()),
                settings: Settings::default(),
            };
            let operations = Operations::start(parts).await.unwrap();
            operations.recover().await.unwrap();
            Running {
                store,
                operations,
                watcher,
                feed,
            }
        });
        Self { runtime, run, seen }
    }

    /// Nothing is told, nothing is waited for: what is not in the database is lost.
    fn crash(self) {
        let Self { runtime, run, .. } = self;
        drop(runtime);
        run.watcher.stop();
    }

    fn do_now<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// The writer of the run before may still be ending.
async fn open(place: &Place) -> Store {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(&place.dir.path().join("volumed.db")) {
            Ok(store) => return store,
            Err(StoreError::InUse { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn database(place: &Place) -> Connection {
    let conn = Connection::open(place.dir.path().join("volumed.db")).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn
}

/// From now on the operations of `volume` get no line beyond `lines`, and do not end.
fn freeze(place: &Place, volume: Option<VolumeId>, lines: usize) {
    let volume = volume.map_or_else(
        || "(SELECT id FROM volumes ORDER BY rowid DESC LIMIT 1)".into(),
        |id| format!("'{id}'"),
    );
    let sql = format!(
        "CREATE TRIGGER frozen_lines BEFORE INSERT ON operation_steps
         WHEN (SELECT volume_id = {volume} AND completed_at IS NULL FROM operations WHERE id = NEW.operation_id)
          AND (SELECT count(*) FROM operation_steps WHERE operation_id = NEW.operation_id) >= {lines}
         BEGIN SELECT RAISE(ABORT, 'frozen'); END;
         CREATE TRIGGER frozen_end BEFORE UPDATE OF completed_at ON operations
         WHEN NEW.completed_at IS NOT NULL AND NEW.volume_id = {volume}
         BEGIN SELECT RAISE(ABORT, 'frozen'); END;"
    );
    database(place).execute_batch(&sql).unwrap();
}

fn thaw(place: &Place) {
    let sql = "DROP TRIGGER frozen_lines; DROP TRIGGER frozen_end;";
    database(place).execute_batch(sql).unwrap();
}

async fn journal(run: &Running, id: OperationId) -> Vec<(String, StepState)> {
    let lines = run
        .store
        .read(move |c| store::journal::read(c, id))
        .await
        .unwrap();
    lines.into_iter().map(|l| (l.line.step, l.line.state)).collect()
}

/// What an operation needs before it is asked for, and how it is asked for.
struct Case {
    volume: Option<VolumeId>,
    request: Request,
}

async fn prepare(place: &Place, run: &Running, kind: OperationKind) -> Case {
    if kind == OperationKind::Adopt {
        let call = || Call {
            id: uuid::Uuid::new_v4().to_string(),
        };
        let spec = NewVolume {
            name: format!("theirs {}", call().id),
            size: Bytes(MIB),
        };
        let made = place.cloud.create_volume(&call(), &spec).await.unwrap();
        place.cloud.attach(&call(), &made.provider_ref, VM).await.unwrap();
        let request = Request::Adopt {
            provider_volume_id: made.provider_ref,
            name: "adopted".into(),
            size_bytes: MIB,
            attached: true,
        };
        return Case {
            volume: None,
            request,
        };
    }
    if kind == OperationKind::Create {
        let request = Request::Create {
            name: "new".into(),
            size_bytes: MIB,
            source: None,
        };
        return Case {
            volume: None,
            request,
        };
    }
    let id = run.create("volume", MIB).await;
    let snapshot_id = SnapshotId::new();
    let snapshot = Request::SnapshotCreate {
        snapshot_id,
        name: "then".into(),
    };
    let request = match kind {
        OperationKind::Create | OperationKind::Adopt => unreachable!(),
        OperationKind::Attach => attach(),
        OperationKind::Detach | OperationKind::Correlate | OperationKind::Resize => {
            run.attach(id).await;
            match kind {
                OperationKind::Detach => Request::Detach {},
                OperationKind::Correlate => Request::Correlate {},
                _ => Request::Resize { size_bytes: 2 * MIB },
            }
        }
        OperationKind::Delete => Request::Delete { confirm_name: None },
        OperationKind::SnapshotCreate => snapshot,
        OperationKind::SnapshotRevert | OperationKind::SnapshotDelete => {
            run.done(Some(id), snapshot).await;
            match kind {
                OperationKind::SnapshotRevert => Request::SnapshotRevert { snapshot_id },
                _ => Request::SnapshotDelete { snapshot_id },
            }
        }
    };
    Case {
        volume: Some(id),
        request,
    }
}

/// Where an operation is cut off, and what happens before the next start.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After this many lines. An odd number: the step's effect is there, its end is not recorded.
    lines: usize,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Restart,
    /// The start of the next step is recorded, but it was not begun.
    StartedOnly,
    /// Somebody had asked to withdraw the operation.
    Withdrawn,
    /// The same, and the undoing is cut off as well, after this many of its lines.
    WithdrawnAndCut(usize),
    /// The machine is booted anew with the same disks.
    Reboot,
}

/// Record, cloud, kernel and pins say the same of the volume, and no operation is open.
async fn agree(place: &Place, run: &Running, id: VolumeId, what: &str) {
    let volume = run.volume(id).await;
    let (open, live, mapping, leases, snapshots) = run
        .store
        .read(move |c| {
            Ok((
                store::operations::open_for(c, id)?,
                store::attachments::live(c, id)?,
                store::mappings::live(c, id)?,
                store::leases::live_of(c, id)?,
                store::snapshots::of_volume(c, id)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(open, None, "{what}");
    assert_eq!(leases, [], "{what}");
    let named: Vec<_> = place
        .cloud
        .volumes()
        .await
        .unwrap()
        .into_iter()
        .filter(|v| {
            v.name.ends_with(&id.to_string()) || Some(&v.provider_ref) == volume.provider_ref.as_ref()
        })
        .collect();
    if volume.state == VolumeState::Deleted {
        assert_eq!(named, [], "{what}");
        return;
    }
    let [in_cloud] = named.as_slice() else {
        panic!("{what}: {named:?}")
    };
    let attached = match volume.state {
        VolumeState::InUse => true,
        VolumeState::Available => false,
        state => panic!("{what}: {state}"),
    };
    assert_eq!(volume.size, in_cloud.size, "{what}");
    assert_eq!(volume.identity, in_cloud.identity, "{what}");
    assert_eq!(in_cloud.attached_to.is_some(), attached, "{what}");
    assert_eq!(
        (live.is_some(), mapping.is_some(), run.operations.is_pinned(id)),
        (attached, attached, attached),
        "{what}: attachment, mapping, pin"
    );
    let soon = tokio::time::Instant::now() + Duration::from_secs(10);
    let inventory = run.feed.rescan(soon).await.unwrap();
    let carriers: Vec<_> = inventory
        .disks
        .iter()
        .filter(|d| d.identity == volume.identity)
        .collect();
    assert_eq!(carriers.len(), usize::from(attached), "{what}: {carriers:?}");
    if let (Some(mapping), [disk]) = (mapping, carriers.as_slice()) {
        assert_eq!(mapping.observed.diskseq, disk.diskseq, "{what}");
        let device = run.operations.device(id).await.unwrap();
        assert_eq!(
            device.observed.device_path,
            disk.node.display().to_string(),
            "{what}"
        );
    }
    let kept = place.cloud.snapshots(&in_cloud.provider_ref).await.unwrap();
    assert_eq!(kept.len(), snapshots.len(), "{what}: {kept:?} {snapshots:?}");
    assert!(
        snapshots.iter().all(|s| s.state == SnapshotState::Ready),
        "{what}: {snapshots:?}"
    );
}

/// Runs an operation up to the cut, crashes, and returns it.
fn cut_off(place: &Place, daemon: Daemon, case: Case, steps: &[String], cut: Cut) -> (VolumeId, OperationId) {
    freeze(place, case.volume, cut.lines);
    let op = daemon
        .do_now(daemon.run.submit(case.volume, case.request))
        .unwrap();
    daemon.do_now(async {
        let arrived = async {
            if let Some(step) = (cut.lines % 2 == 1).then(|| &steps[cut.lines / 2]) {
                let mut seen = daemon.seen.0.subscribe();
                let ran = |ran: &Vec<&'static str>| ran.last().is_some_and(|last| last == step);
                seen.wait_for(ran).await.unwrap();
            }
            while journal(&daemon.run, op.id).await.len() < cut.lines {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await;
        let lines = journal(&daemon.run, op.id).await;
        assert!(arrived.is_ok(), "{cut:?} was not reached: {lines:?}");
        assert_eq!(lines.len(), cut.lines, "{cut:?}: {lines:?}");
    });
    daemon.crash();
    thaw(place);
    (op.volume_id, op.id)
}

fn before_the_next_start(place: &Place, volume: VolumeId, op: OperationId, steps: &[String], cut: Cut) {
    let conn = database(place);
    let change = match cut.then {
        Then::Restart => return,
        Then::StartedOnly => conn.execute(
            "INSERT INTO operation_steps (operation_id, seq, step, state, at) VALUES (?1, ?2, ?3, 'started', ?4)",
            params![
                op.to_string(),
                cut.lines + 1,
                steps[cut.lines / 2],
                "2026-01-01T00:00:00Z"
            ],
        ),
        Then::Withdrawn | Then::WithdrawnAndCut(_) => conn.execute(
            "UPDATE operations SET cancel_requested = 1 WHERE id = ?1",
            [op.to_string()],
        ),
        Then::Reboot => conn.execute(
            "UPDATE mappings SET boot_id = 'before-' || id WHERE volume_id = ?1",
            [volume.to_string()],
        ),
    };
    change.unwrap();
    if let Then::WithdrawnAndCut(lines) = cut.then {
        freeze(place, Some(volume), cut.lines + lines);
        let daemon = Daemon::start(place);
        daemon.do_now(async {
            // Frozen, or past the point of no return and so frozen at the end: both stand still.
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until && journal(&daemon.run, op).await.len() < cut.lines + lines {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        daemon.crash();
        thaw(place);
    }
}

fn cuts(steps: usize, kind: OperationKind) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for lines in 0..=2 * steps {
        let mut add = |then| cuts.push(Cut { lines, then });
        add(Then::Restart);
        if lines % 2 == 0 && lines < 2 * steps {
            add(Then::StartedOnly);
        }
        add(Then::Withdrawn);
        if lines > 0 {
            add(Then::WithdrawnAndCut(1));
        }
        if matches!(
            kind,
            OperationKind::Attach | OperationKind::Detach | OperationKind::Resize | OperationKind::Adopt
        ) {
            add(Then::Reboot);
        }
    }
    cuts
}

fn every_prefix_ends(kind: OperationKind) {
    let Some(place) = Place::new() else { return };
    let mut daemon = Daemon::start(&place);
    let steps: Vec<String> = daemon.do_now(async {
        let case = prepare(&place, &daemon.run, kind).await;
        let op = daemon.run.done(case.volume, case.request).await;
        let lines = journal(&daemon.run, op.id).await;
        lines
            .into_iter()
            .filter(|(_, state)| *state == StepState::Started)
            .map(|(step, _)| step)
            .collect()
    });
    let mut before = None;
    for cut in cuts(steps.len(), kind) {
        let what = format!("{kind} {cut:?}");
        let case = daemon.do_now(prepare(&place, &daemon.run, kind));
        let (volume, id) = cut_off(&place, daemon, case, &steps, cut);
        before_the_next_start(&place, volume, id, &steps, cut);
        daemon = Daemon::start(&place);
        let ended = daemon.do_now(daemon.run.end_of(id));
        match cut.then {
            Then::Withdrawn | Then::WithdrawnAndCut(_) => {
                assert_ne!(ended.status, OperationStatus::Failed, "{what}")
            }
            _ => assert_eq!(ended.status, OperationStatus::Completed, "{what}: {ended:?}"),
        }
        if matches!(kind, OperationKind::Attach | OperationKind::Adopt)
            && ended.status == OperationStatus::Completed
        {
            assert!(
                ended.response.as_ref().unwrap()["device_path"].is_string(),
                "{what}: {ended:?}"
            );
        }
        daemon.do_now(async {
            if cut.then == Then::Reboot && kind == OperationKind::Resize {
                // Resized while it was bound in no boot: found again as the reconciler would.
                daemon.run.done(Some(volume), Request::Correlate {}).await;
            }
            agree(&place, &daemon.run, volume, &what).await;
            // The start that this case needed changed nothing of the one before.
            if let Some((earlier, lines, text)) = before.take() {
                assert_eq!(
                    journal(&daemon.run, earlier).await,
                    lines,
                    "{text} changed afterwards"
                );
            }
            before = Some((id, journal(&daemon.run, id).await, what));
            if daemon.run.volume(volume).await.state == VolumeState::InUse {
                daemon.run.done(Some(volume), Request::Detach {}).await;
            }
        });
    }
    daemon.crash();
}

#[test]
fn create_ends_from_every_line() {
    every_prefix_ends(OperationKind::Create);
}

#[test]
fn attach_ends_from_every_line() {
    every_prefix_ends(OperationKind::Attach);
}

#[test]
fn detach_ends_from_every_line() {
    every_prefix_ends(OperationKind::Detach);
}

#[test]
fn delete_ends_from_every_line() {
    every_prefix_ends(OperationKind::Delete);
}

#[test]
fn resize_ends_from_every_line() {
    every_prefix_ends(OperationKind::Resize);
}

#[test]
fn correlate_ends_from_every_line() {
    every_prefix_ends(OperationKind::Correlate);
}

#[test]
fn snapshot_create_ends_from_every_line() {
    every_prefix_ends(OperationKind::SnapshotCreate);
}

#[test]
fn snapshot_revert_ends_from_every_line() {
    every_prefix_ends(OperationKind::SnapshotRevert);
}

#[test]
fn snapshot_delete_ends_from_every_line() {
    every_prefix_ends(OperationKind::SnapshotDelete);
}

#[test]
fn adopt_ends_from_every_line() {
    every_prefix_ends(OperationKind::Adopt);
}
