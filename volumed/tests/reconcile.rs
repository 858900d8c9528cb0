//! The reconciler on real loop devices: what somebody did behind the daemon's back is found, and repaired where that is safe.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use support::{Place, Running, VM};
use tokio_util::sync::CancellationToken;
use volume_client::types::{ErrorCode, FindingKind, FindingRepair};
use volumed::cloud::{Call, NewVolume};
use volumed::model::{Bytes, LeaseAccess, LeasePurpose, OperationStatus, Request, VolumeState};
use volumed::operation::{Adoption, NewLease, OperationError};
use volumed::reconcile::{Bounds, Mode, Parts, Reconciler};
use volumed::store::{self, Asker, Key};

fn losetup(arguments: &[&str]) -> String {
    let output = Command::new("losetup").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "losetup {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn backing_file(node: &str) -> String {
    let path = node.replace("/dev/", "/sys/block/") + "/loop/backing_file";
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn reconciler(place: &Place, run: &Running) -> Arc<Reconciler> {
    let seconds = SignedDuration::from_secs;
    Reconciler::new(Parts {
        store: run.store.clone(),
        cloud: Arc::clone(&place.cloud),
        feed: run.feed.clone(),
        machine: Arc::new(volumed::device::KernelMachine::default()),
        operations: run.operations.clone(),
        bounds: Bounds {
            orphan: seconds(0),
            stuck: seconds(0),
            uses: seconds(0),
            uses_every: seconds(0),
        },
        timer: Duration::from_secs(3600),
    })
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

/// A daemon that starts anew after somebody took an attached volume's device away while it did not run.
async fn started_without_device(place: &Place) -> (Running, volumed::model::VolumeId) {
    let run = place.start().await;
    let id = run.create("gone", 4 << 20).await;
    let node = run.attach(id).await;
    run.stop().await;
    losetup(&["-d", &node]);
    (place.start().await, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_came_back_as_another_incarnation_is_bound_anew_by_itself() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("swapped", 4 << 20).await;
    let node = run.attach(id).await;
    run.stop().await;
    let file = backing_file(&node);
    losetup(&["-d", &node]);
    let again = losetup(&["-f", "--show", &file]);

    let run = place.start().await;
    assert!(run.operations.device(id).await.is_err());
    let stop = CancellationToken::new();
    let reconciling = tokio::spawn(reconciler(&place, &run).run(stop.clone()));
    until("bound anew", async || {
        let device = run.operations.device(id).await;
        let open = run.store.read(move |conn| store::operations::open_for(conn, id));
        device.is_ok_and(|device| device.observed.device_path == again) && open.await.unwrap().is_none()
    })
    .await;
    stop.cancel();
    reconciling.await.unwrap();
    run.done(Some(id), volumed::model::Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_somebody_ended_is_recorded_as_ended() {
    let Some(place) = Place::new() else { return };
    let (run, id) = started_without_device(&place).await;
    let stop = CancellationToken::new();
    let reconciling = tokio::spawn(reconciler(&place, &run).run(stop.clone()));
    until("recorded as available", async || {
        run.volume(id).await.state == VolumeState::Available
    })
    .await;
    stop.cancel();
    reconciling.await.unwrap();
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_after_a_foreign_detach_is_a_finding_and_is_not_touched() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("phantom", 4 << 20).await;
    let node = run.attach(id).await;
    // The daemon's pin keeps the device: the kernel only marks it to go.
    losetup(&["-d", &node]);
    let reconciler = reconciler(&place, &run);
    reconciler.compare(Mode::Mend).await.unwrap();
    let findings = reconciler.findings().await.unwrap();
    assert_eq!(
        findings.iter().map(|f| f.kind).collect::<Vec<_>>(),
        [FindingKind::Phantom],
        "{findings:?}"
    );
    assert_eq!(findings[0].operation_id, None);
    assert_eq!(run.volume(id).await.state, VolumeState::InUse);
    run.done(Some(id), volumed::model::Request::Detach {}).await;
    run.stop().await;
}

fn person() -> Asker {
    Asker {
        actor: "a person".into(),
        request_id: None,
    }
}

/// A volume that somebody made and attached here without the daemon.
async fn stray(place: &Place, run: &Running, name: &str) -> String {
    let call = || Call {
        id: uuid::Uuid::new_v4().to_string(),
    };
    let spec = NewVolume {
        name: name.into(),
        size: Bytes(4 << 20),
    };
    let made = place.cloud.create_volume(&call(), &spec).await.unwrap();
    place.cloud.attach(&call(), &made.provider_ref, VM).await.unwrap();
    let soon = tokio::time::Instant::now() + Duration::from_secs(10);
    run.feed.rescan(soon).await.unwrap();
    made.provider_ref
}

fn adoption(provider_volume_id: &str) -> Adoption {
    Adoption {
        provider_volume_id: provider_volume_id.into(),
        name: "adopted".into(),
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, OperationError>) -> ErrorCode {
    match result {
        Err(OperationError::Refused { failure, .. }) => failure.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_attached_here_is_found_adopted_and_proven() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let theirs = stray(&place, &run, "theirs").await;
    let reconciler = reconciler(&place, &run);
    let report = reconciler.compare(Mode::Mend).await.unwrap();
    assert_eq!(report.repairs, [], "nothing is done about it unasked");
    let [finding] = report.findings.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(
        (finding.kind, finding.proposal, finding.volume_id),
        (FindingKind::AttachedUnknown, Some(FindingRepair::Adopt), None)
    );
    assert_eq!(finding.provider_volume_id.as_deref(), Some(theirs.as_str()));
    assert!(finding.kernel.contains("/dev/loop"), "{finding:?}");
    assert_eq!(
        refusal(reconciler.repair(&finding.id, person(), None).await),
        ErrorCode::PersonNeeded
    );

    let key = Key {
        key: "once".into(),
        request_hash: "the same".into(),
    };
    let op = run
        .operations
        .adopt(adoption(&theirs), person(), Some(key.clone()))
        .await
        .unwrap();
    let ended = run.end_of(op.id).await;
    assert_eq!(ended.status, OperationStatus::Completed, "{ended:?}");
    let again = run
        .operations
        .adopt(adoption(&theirs), person(), Some(key))
        .await
        .unwrap();
    assert_eq!(again.id, op.id);
    assert_eq!(
        refusal(run.operations.adopt(adoption(&theirs), person(), None).await),
        ErrorCode::AlreadyRecorded
    );

    let id = ended.volume_id;
    let volume = run.volume(id).await;
    assert_eq!(volume.state, VolumeState::InUse);
    assert!(volume.written && volume.handed_out && !volume.fresh_zero);
    let device = run.operations.device(id).await.unwrap();
    assert_eq!(
        ended.response.unwrap()["device_path"],
        device.observed.device_path.as_str()
    );
    reconciler.compare(Mode::Mend).await.unwrap();
    assert_eq!(reconciler.findings().await.unwrap(), []);
    let explained = reconciler.explain(id).await.unwrap().unwrap();
    assert!(explained.next.starts_with("nothing: "), "{explained:?}");
    assert_eq!(explained.used_by, Some(Vec::new()));

    run.done(Some(id), Request::Detach {}).await;
    let kept = place.cloud.volume(&theirs).await.unwrap();
    assert_eq!(kept.map(|volume| volume.attached_to), Some(None));
    // It may hold anything: only its name lets it go.
    let unnamed = run.submit(Some(id), Request::Delete { confirm_name: None }).await;
    assert_eq!(refusal(unnamed), ErrorCode::ConfirmationRequired);
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_our_name_whose_record_is_lost_is_shown_and_never_deleted() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("lost", 4 << 20).await;
    let provider_ref = run.volume(id).await.provider_ref.unwrap();
    let lost = run.store.write(move |tx| store::volumes::forget(tx, id)).await;
    lost.unwrap();
    let reconciler = reconciler(&place, &run);
    reconciler.compare(Mode::Mend).await.unwrap();
    let findings = reconciler.findings().await.unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, FindingKind::Unrecorded);
    assert!(findings[0].record.contains(&id.to_string()), "{findings:?}");
    for _ in 0..3 {
        reconciler.compare(Mode::Mend).await.unwrap();
    }
    assert!(place.cloud.volume(&provider_ref).await.unwrap().is_some());
    let op = run
        .operations
        .adopt(adoption(&provider_ref), person(), None)
        .await
        .unwrap();
    let ended = run.end_of(op.id).await;
    assert_eq!(ended.status, OperationStatus::Completed, "{ended:?}");
    assert_eq!(run.volume(ended.volume_id).await.state, VolumeState::Available);
    reconciler.compare(Mode::Mend).await.unwrap();
    assert_eq!(reconciler.findings().await.unwrap(), []);
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_whose_device_is_used_by_somebody_is_undone_and_touches_nothing() {
    let Some(place) = Place::new() else { return };
    let settings = volumed::operation::Settings {
        attach_timeout: Duration::from_secs(2),
        ..Default::default()
    };
    let run = place.start_with(Arc::clone(&place.cloud), settings).await;
    let theirs = stray(&place, &run, "theirs").await;
    let seen = place.cloud.volume(&theirs).await.unwrap().unwrap();
    let inventory = run.feed.latest();
    let node = inventory
        .carriers(&seen.identity.unwrap())
        .next()
        .unwrap()
        .node
        .clone();
    // A loop device over it holds it.
    let holder = losetup(&["-f", "--show", &node.display().to_string()]);
    let op = run
        .operations
        .adopt(adoption(&theirs), person(), None)
        .await
        .unwrap();
    let ended = run.end_of(op.id).await;
    losetup(&["-d", &holder]);
    assert_eq!(ended.status, OperationStatus::Failed, "{ended:?}");
    assert_eq!(run.volume(op.volume_id).await.state, VolumeState::Deleted);
    let kept = place.cloud.volume(&theirs).await.unwrap().unwrap();
    assert_eq!(kept.attached_to.as_deref(), Some(VM), "it stays as it was");
    // Free again, it is adopted after all.
    let op = run
        .operations
        .adopt(adoption(&theirs), person(), None)
        .await
        .unwrap();
    assert_eq!(run.end_of(op.id).await.status, OperationStatus::Completed);
    run.done(Some(run.end_of(op.id).await.volume_id), Request::Detach {})
        .await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_stays_so_after_a_restart_until_it_is_heeded() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let theirs = stray(&place, &run, "theirs").await;
    let first = reconciler(&place, &run);
    first.compare(Mode::Mend).await.unwrap();
    let id = first.findings().await.unwrap()[0].id.clone();
    let marked = first
        .ignore(&id, "a test disk".into(), person(), None)
        .await
        .unwrap();
    assert_eq!(marked.ignored.unwrap().actor, "a person");
    run.stop().await;

    let run = place.start().await;
    let second = reconciler(&place, &run);
    second.compare(Mode::Mend).await.unwrap();
    let found = second.finding(&id).await.unwrap();
    assert_eq!(found.ignored.unwrap().why, "a test disk");
    second.heed(&id, person(), None).await.unwrap();
    second.heed(&id, person(), None).await.unwrap();
    assert_eq!(second.finding(&id).await.unwrap().ignored, None);
    let audit = run
        .store
        .read(|conn| store::audit::list(conn, None, None, 10))
        .await
        .unwrap();
    let actions: Vec<_> = audit.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["finding_heeded", "finding_ignored"]);
    let call = Call {
        id: uuid::Uuid::new_v4().to_string(),
    };
    place.cloud.detach(&call, &theirs, VM).await.unwrap();
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_holder_died_ends_only_once_nobody_has_the_device_open() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("leased", 4 << 20).await;
    let node = run.attach(id).await;
    let lease = NewLease {
        volume_id: id,
        purpose: LeasePurpose::Export,
        access: LeaseAccess::Write,
        holder: "a dead exporter".into(),
        detail: None,
        ttl_seconds: 1,
    };
    run.operations.acquire_lease(lease, person(), None).await.unwrap();
    let mut user = Command::new("sleep")
        .arg("infinity")
        .stdin(std::fs::File::open(&node).unwrap())
        .spawn()
        .unwrap();
    let reconciler = reconciler(&place, &run);
    let kinds = async || {
        reconciler.compare(Mode::Mend).await.unwrap();
        let findings = reconciler.findings().await.unwrap();
        findings.iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, [], "a lease that lives answers for the device");
    until("it is used without a lease that lives", async || {
        kinds().await == [FindingKind::UsedWithoutLease]
    })
    .await;
    let found = reconciler.findings().await.unwrap();
    assert!(found[0].kernel.contains("sleep"), "{found:?}");
    let live = async || {
        run.store
            .read(move |conn| store::leases::live_of(conn, id))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(live().await, 1, "somebody has the device open");
    user.kill().unwrap();
    user.wait().unwrap();
    until("the lease has ended", async || {
        kinds().await;
        live().await == 0
    })
    .await;
    assert_eq!(kinds().await, []);
    let audit = run
        .store
        .read(move |conn| store::audit::list(conn, Some(id), None, 1))
        .await
        .unwrap();
    assert_eq!(
        (audit[0].action.as_str(), audit[0].actor.as_str()),
        ("lease_lapsed", "reconciler")
    );
    run.done(Some(id), Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let Some(place) = Place::new() else { return };
    let (run, id) = started_without_device(&place).await;
    let database = place.dir.path().join("volumed.db");
    let dump = || {
        let conn = rusqlite::Connection::open(&database).unwrap();
        let count = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            conn.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        [
            "events",
            "audit",
            "operations",
            "operation_steps",
            "volumes",
            "idempotency_keys",
        ]
        .map(count)
    };
    let before = dump();
    let reconciler = reconciler(&place, &run);
    until("the repair is due", async || {
        let report = reconciler.compare(Mode::Look).await.unwrap();
        let [repair] = report.repairs.as_slice() else {
            panic!("{report:?}")
        };
        assert!(report.dry_run && repair.operation_id.is_none());
        assert_eq!(repair.volume_id, Some(id));
        repair.status == volume_client::types::RepairStatus::Due
    })
    .await;
    assert_eq!(dump(), before);
    let report = reconciler.compare(Mode::Mend).await.unwrap();
    let operation = report.repairs[0].operation_id.expect("begun now");
    run.end_of(operation).await;
    assert_eq!(run.volume(id).await.state, VolumeState::Available);
    run.stop().await;
}
