//! Changes: what is sent, what is waited for, what must be confirmed first.

use serde_json::{Value, json};
use volume_client::types::{ErrorCode, OperationKind, OperationStatus};

use crate::fake::{Fake, Reply, Seen, sample};
use crate::{err, good, out, run};

/// A daemon on which every change is done at once. Two volumes share the name `twin`.
fn world(seen: &Seen) -> Reply {
    let volume = sample::volume(sample::VOLUME, "disk");
    let twin = sample::volume(sample::OTHER_VOLUME, "twin");
    let path = seen
        .path
        .strip_prefix("/api/v1")
        .unwrap()
        .replace(sample::VOLUME, "ID");
    let pending = |kind| Reply::accepted(sample::operation(kind, OperationStatus::Pending));
    match (seen.method.as_str(), path.as_str()) {
        ("GET", "/volumes") => match seen.query.split('&').next().unwrap() {
            "name=disk" => Reply::page(&[volume]),
            "name=twin" => Reply::page(&[sample::volume(sample::VOLUME, "twin"), twin]),
            _ => Reply::page::<Value>(&[]),
        },
        ("GET", "/volumes/ID") => Reply::ok(volume),
        ("GET", "/volumes/ID/snapshots") => Reply::page(&[sample::snapshot()]),
        ("GET", "/status") => {
            let readiness = volume_client::types::Readiness {
                ready: true,
                checks: vec![],
            };
            Reply::ok(sample::status(readiness))
        }
        ("GET", "/findings/0123456789ab") => Reply::ok(mendable()),
        ("GET", "/findings/fedcba987654") => Reply::ok(sample::stray()),
        ("POST", "/findings/0123456789ab/repair") => Reply::accepted(json!({
            "finding_id": sample::FINDING,
            "repair": "attach",
            "operation": sample::operation(OperationKind::Attach, OperationStatus::Pending),
            "message": "begun",
        })),
        ("POST", "/findings/0123456789ab/ignore") => Reply::ok(mendable()),
        ("DELETE", "/findings/0123456789ab/ignore") => Reply::Json(204, Value::Null),
        ("GET", "/leases/01900000-0000-7000-8000-0000000000b1") => Reply::ok(sample::lease()),
        ("GET", _) if path.starts_with("/operations/") => Reply::ok(sample::attached()),
        ("DELETE", _) if path.starts_with("/leases/") => Reply::Json(204, Value::Null),
        ("POST", "/volumes") => pending(OperationKind::Create),
        _ => pending(OperationKind::Attach),
    }
}

fn mendable() -> volume_client::types::Finding {
    volume_client::types::Finding {
        proposal: Some(volume_client::types::FindingRepair::Attach),
        ..sample::finding()
    }
}

async fn sent(args: &[&str]) -> (String, Vec<Seen>) {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    let shown = good(&fake, args).await;
    let changes = fake.seen().into_iter().filter(|s| s.method != "GET").collect();
    (shown, changes)
}

#[tokio::test]
async fn creating_shows_the_volume() {
    let args = [
        "volumes",
        "create",
        "disk",
        "--size",
        "10GiB",
        "--source-vm",
        "vm-7",
        "--source-disk",
        "d-1",
    ];
    let (shown, changes) = sent(&args).await;
    assert!(
        shown.contains(sample::VOLUME) && shown.contains("10 GiB (10737418240 bytes)"),
        "{shown}"
    );
    let body =
        json!({ "name": "disk", "size_bytes": 10u64 << 30, "source": { "vm": "vm-7", "disk": "d-1" } });
    assert_eq!(changes[0].json(), body);
}

#[tokio::test]
async fn attaching_by_name_goes_to_the_daemons_own_vm_and_tells_the_device() {
    let (shown, changes) = sent(&["attach", "disk"]).await;
    assert_eq!(shown, format!("attached {}: /dev/loop7\n", sample::VOLUME));
    assert_eq!(
        changes[0].path,
        format!("/api/v1/volumes/{}/attach", sample::VOLUME)
    );
    assert_eq!(changes[0].json(), json!({ "vm_id": "appliance-1" }));
    let (_, changes) = sent(&["attach", "disk", "--vm", "other"]).await;
    assert_eq!(changes[0].json(), json!({ "vm_id": "other" }));
}

#[tokio::test]
async fn without_waiting_only_the_operation_is_told() {
    let (shown, changes) = sent(&["detach", "disk", "--no-wait", "--idempotency-key", "k-1"]).await;
    assert_eq!(shown, format!("{}\n", sample::OPERATION));
    assert_eq!(changes[0].key(), "k-1");
    let (shown, _) = sent(&["detach", "disk", "--no-wait", "--json"]).await;
    let operation: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        operation,
        json!(sample::operation(OperationKind::Attach, OperationStatus::Pending))
    );
}

#[tokio::test]
async fn other_changes_reach_their_endpoints() {
    for (args, call) in [
        (
            &["volumes", "resize", "disk", "--size", "20GiB"][..],
            "POST /api/v1/volumes/V/resize",
        ),
        (&["correlate", "disk"], "POST /api/v1/volumes/V/correlate"),
        (
            &["snapshots", "create", "disk", "s"],
            "POST /api/v1/volumes/V/snapshots",
        ),
        (
            &["snapshots", "revert", "disk", "before-cutover", "--yes"],
            "POST /api/v1/volumes/V/snapshots/S/revert",
        ),
        (
            &["snapshots", "delete", "disk", sample::SNAPSHOT, "-y"],
            "DELETE /api/v1/volumes/V/snapshots/S",
        ),
        (
            &["leases", "release", sample::LEASE, "--yes"],
            "DELETE /api/v1/leases/L",
        ),
    ] {
        let (_, changes) = sent(args).await;
        let made = changes[0].call().replace(sample::VOLUME, "V");
        let made = made.replace(sample::SNAPSHOT, "S").replace(sample::LEASE, "L");
        assert_eq!(made, call, "{args:?}");
    }
}

#[tokio::test]
async fn nothing_is_destroyed_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    for args in [
        &["volumes", "delete", "disk"][..],
        &["snapshots", "revert", "disk", "before-cutover"],
        &["snapshots", "delete", "disk", "before-cutover"],
        &["leases", "release", sample::LEASE],
    ] {
        let output = run(&fake, args).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: there is no terminal to ask on"
        );
        assert!(err(&output).contains("hint: add --"), "{}", err(&output));
    }
    let wrong = run(&fake, &["volumes", "delete", "disk", "--confirm-name", "disc"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(fake.seen().iter().all(|s| s.method == "GET"));
}

#[tokio::test]
async fn a_name_confirms_and_yes_does_not_stand_for_a_name() {
    let (_, changes) = sent(&["volumes", "delete", "disk", "--confirm-name", "disk"]).await;
    assert_eq!(changes[0].query, "confirm_name=disk");
    let (_, changes) = sent(&["volumes", "delete", "disk", "--yes"]).await;
    assert_eq!(changes[0].query, "");
}

#[tokio::test]
async fn a_name_that_two_have_is_no_choice() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    let output = run(&fake, &["detach", "twin"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(text.contains("2 volumes are named `twin`"), "{text}");
    assert!(
        text.contains(sample::VOLUME) && text.contains(sample::OTHER_VOLUME),
        "{text}"
    );
    let none = run(&fake, &["detach", "nothing"]).await;
    assert!(err(&none).contains("there is no volume `nothing`"));
    assert!(fake.seen().iter().all(|s| s.method == "GET"));
}

#[tokio::test]
async fn cancelling_succeeds_when_it_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.nth {
        0 => Reply::accepted(sample::operation(OperationKind::Attach, OperationStatus::Running)),
        1 => Reply::ok(sample::operation(
            OperationKind::Attach,
            OperationStatus::Cancelled,
        )),
        _ => Reply::problem(ErrorCode::NotCancellable, "it has ended"),
    });
    let cancelled = run(&fake, &["operations", "cancel", sample::OPERATION]).await;
    assert!(
        cancelled.status.success() && out(&cancelled).contains("attach cancelled"),
        "{}",
        err(&cancelled)
    );
    let late = run(&fake, &["operations", "cancel", sample::OPERATION]).await;
    assert_eq!(late.status.code(), Some(1));
}

#[tokio::test]
async fn an_orphan_is_adopted_by_its_finding_or_by_the_clouds_own_id() {
    for of in ["fedcba987654", sample::STRAY] {
        let args = ["orphans", "adopt", of, "--name", "kept", "--yes"];
        let (shown, changes) = sent(&args).await;
        assert_eq!(shown, format!("adopted as {}: /dev/loop7\n", sample::VOLUME));
        assert_eq!(changes[0].path, "/api/v1/volumes/adopt");
        assert_eq!(
            changes[0].json(),
            json!({ "provider_volume_id": sample::STRAY, "name": "kept" })
        );
    }
    // A finding about a recorded volume names nothing that could be adopted.
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    let args = ["orphans", "adopt", sample::FINDING, "--name", "kept", "--yes"];
    let output = run(&fake, &args).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("not about a volume that has no record"));
}

#[tokio::test]
async fn mending_and_adopting_are_not_done_without_consent() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    for args in [
        &["orphans", "repair", sample::FINDING][..],
        &["orphans", "adopt", sample::STRAY, "--name", "kept"],
    ] {
        let output = run(&fake, args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains("--yes"), "{}", err(&output));
    }
    assert!(fake.seen().iter().all(|seen| seen.method == "GET"));
    let (_, changes) = sent(&["orphans", "repair", sample::FINDING, "--yes"]).await;
    assert_eq!(changes[0].path, "/api/v1/findings/0123456789ab/repair");
}

#[tokio::test]
async fn a_finding_is_passed_over_with_a_reason_and_heeded_again() {
    let (shown, changes) = sent(&["orphans", "ignore", sample::FINDING, "--why", "a test disk"]).await;
    assert!(shown.contains("passed over from now on"), "{shown}");
    assert_eq!(changes[0].json(), json!({ "why": "a test disk" }));
    let (_, changes) = sent(&["orphans", "heed", sample::FINDING]).await;
    assert_eq!(changes[0].method, "DELETE");
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    let unreasoned = run(&fake, &["orphans", "ignore", sample::FINDING]).await;
    assert_eq!(unreasoned.status.code(), Some(2));
}
