//! What is printed: golden tables, and JSON that is the API's own.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use volume_client::types::{
    Check, CheckStatus, Condition, ConditionKind, EventKind, Finding, FindingRepair, Ignored, OperationKind,
    OperationStatus, PlannedRepair, Readiness, ReconcileReport, RepairStatus,
};

use crate::fake::{Fake, Reply, Seen, sample};
use crate::{good, run, volumectl};

fn world(seen: &Seen) -> Reply {
    let path = seen.path.strip_prefix("/api/v1").unwrap();
    let volume = format!("/volumes/{}", sample::VOLUME);
    if let Some(rest) = path.strip_prefix(&volume) {
        return match rest {
            "" => Reply::ok(troubled()),
            "/device" => Reply::ok(sample::volume_device()),
            "/snapshots" => Reply::page(&[sample::snapshot()]),
            "/explain" => Reply::ok(sample::explanation()),
            other => panic!("unexpected {other}"),
        };
    }
    match path {
        "/volumes" => Reply::page(&[troubled()]),
        "/devices" => Reply::page(&[sample::device()]),
        "/mappings" => Reply::page(&[sample::mapping()]),
        "/leases" => Reply::page(&[sample::lease()]),
        "/findings" => Reply::page(&findings()),
        "/audit" => Reply::page(&[sample::audit()]),
        "/findings/0123456789ab" => Reply::ok(sample::finding()),
        "/reconcile" => Reply::ok(report()),
        "/operations" => Reply::page(&[sample::failed(OperationKind::Attach)]),
        "/status" => Reply::ok(sample::status(readiness(true))),
        "/doctor" => Reply::ok(sample::doctor(CheckStatus::Passed)),
        other if other.starts_with("/operations/") => Reply::ok(sample::failed(OperationKind::Attach)),
        other => panic!("unexpected {other}"),
    }
}

/// The same phantom twelve times over, a stray, and one that is passed over.
fn findings() -> Vec<Finding> {
    let mut all: Vec<_> = (0..12)
        .map(|n| Finding {
            id: format!("0123456789{n:02}").parse().unwrap(),
            ..sample::finding()
        })
        .collect();
    all.push(sample::stray());
    all[0].ignored = Some(Ignored {
        actor: "uid:0".to_owned(),
        why: "known".to_owned(),
        at: sample::at("03:41:00"),
    });
    all
}

fn report() -> ReconcileReport {
    let repair = |status, message: &str| PlannedRepair {
        finding_id: sample::FINDING.parse().unwrap(),
        volume_id: Some(sample::VOLUME.parse().unwrap()),
        repair: FindingRepair::Correlate,
        status,
        operation_id: None,
        message: message.to_owned(),
    };
    ReconcileReport {
        dry_run: true,
        cloud_answered: true,
        findings: vec![sample::finding()],
        repairs: vec![
            repair(RepairStatus::Due, "bound anew"),
            repair(RepairStatus::Waits, "it must stand 2 s longer"),
        ],
    }
}

fn troubled() -> volume_client::types::Volume {
    let mut volume = sample::volume(sample::VOLUME, "web\u{1b}[2J disk");
    volume.conditions.push(Condition {
        kind: ConditionKind::DeviceMissing,
        since: sample::at("03:05:00"),
        reason: "no device has its identity".to_owned(),
        hint: "attach it again".to_owned(),
    });
    volume
}

fn readiness(ready: bool) -> Readiness {
    Readiness {
        ready,
        checks: vec![Check {
            name: "cloud".to_owned(),
            ok: ready,
            detail: "asked 1 s ago".to_owned(),
        }],
    }
}

/// After a wanted change: run with `UPDATE_GOLDEN=1`, and read what it changed.
#[tokio::test]
async fn tables_are_as_they_always_were() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    for (args, golden) in [
        (&["volumes", "list"][..], "volumes"),
        (&["volumes", "show", sample::VOLUME], "volume"),
        (&["device", sample::VOLUME], "device"),
        (&["devices", "list"], "devices"),
        (&["mappings", "list"], "mappings"),
        (&["leases", "list"], "leases"),
        (&["findings", "list"], "findings"),
        (&["operations", "list"], "operations"),
        (&["operations", "show", sample::OPERATION], "operation"),
        (&["snapshots", "list", sample::VOLUME], "snapshots"),
        (&["orphans", "list"], "orphans"),
        (&["orphans", "show", sample::FINDING], "orphan"),
        (&["explain", sample::VOLUME], "explain"),
        (&["audit", "--volume", sample::VOLUME], "audit"),
        (&["reconcile", "--dry-run"], "reconcile"),
        (&["status"], "status"),
        (&["doctor"], "doctor"),
    ] {
        let shown = good(&fake, args).await;
        let path = format!("{}/tests/cli/golden/{golden}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        assert_eq!(
            shown,
            std::fs::read_to_string(&path).unwrap(),
            "{args:?} printed:\n{shown}"
        );
        assert!(!shown.contains('\u{1b}'), "{args:?}");
    }
}

#[tokio::test]
async fn a_bare_noun_lists() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    for noun in [
        "volumes",
        "devices",
        "mappings",
        "leases",
        "findings",
        "orphans",
        "operations",
    ] {
        assert_eq!(
            good(&fake, &[noun]).await,
            good(&fake, &[noun, "list"]).await,
            "{noun}"
        );
    }
}

#[tokio::test]
async fn json_is_what_the_api_said() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    for (args, object) in [
        (&["volumes"][..], json!([troubled()])),
        (&["volumes", "show", sample::VOLUME], json!(troubled())),
        (&["device", sample::VOLUME], json!(sample::volume_device())),
        (&["devices"], json!([sample::device()])),
        (&["leases"], json!([sample::lease()])),
        (
            &["operations", "show", sample::OPERATION],
            json!(sample::failed(OperationKind::Attach)),
        ),
        (&["status"], json!(sample::status(readiness(true)))),
        (&["orphans", "show", sample::FINDING], json!(sample::finding())),
        (&["explain", sample::VOLUME], json!(sample::explanation())),
        (&["audit"], json!([sample::audit()])),
        (&["reconcile", "--dry-run"], json!(report())),
    ] {
        let args = [args, &["--json"]].concat();
        let shown: Value = serde_json::from_str(&good(&fake, &args).await).unwrap();
        assert_eq!(shown, object, "{args:?}");
    }
}

#[tokio::test]
async fn filters_are_sent_in_the_apis_words() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    good(
        &fake,
        &["volumes", "list", "--state", "in_use", "--source-vm", "vm-7"],
    )
    .await;
    good(
        &fake,
        &[
            "operations",
            "list",
            "--type",
            "snapshot_create",
            "--status",
            "failed",
            "--volume",
            sample::VOLUME,
        ],
    )
    .await;
    let queries: Vec<_> = fake.seen().into_iter().map(|s| s.query).collect();
    assert_eq!(queries[0], "source_vm=vm-7&state=in_use&limit=1000");
    let volume = sample::VOLUME;
    assert_eq!(
        queries[1],
        format!("status=failed&volume_id={volume}&type=snapshot_create&limit=1000")
    );
    assert_eq!(
        run(&fake, &["volumes", "list", "--state", "sleepy"])
            .await
            .status
            .code(),
        Some(2)
    );
}

#[tokio::test]
async fn a_daemon_that_is_not_ready_is_shown_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| Reply::ok(sample::status(readiness(false))));
    let output = run(&fake, &["status"]).await;
    assert_eq!(output.status.code(), Some(5));
    assert!(crate::out(&output).contains("cloud NOT OK"));
    assert!(crate::err(&output).contains("not ready"));
}

#[tokio::test]
async fn watching_operations_prints_what_is_open_and_then_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.path.as_str() {
        "/api/v1/events" => {
            let frames = [EventKind::Lease, EventKind::Operation].map(|kind| {
                let id = if kind == EventKind::Lease { 1 } else { 2 };
                sample::frame(&sample::event(id, kind))
            });
            Reply::RawThenSilence(Reply::events(&frames.concat()))
        }
        "/api/v1/operations" => {
            Reply::page(&[sample::operation(OperationKind::Attach, OperationStatus::Running)])
        }
        _ => Reply::ok(sample::attached()),
    });
    let mut command = volumectl();
    command
        .arg("--socket")
        .arg(&fake.socket)
        .args(["operations", "list", "--watch"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(std::time::Duration::from_secs(10), lines.next_line());
        line.await.unwrap().unwrap().unwrap()
    };
    assert!(next().await.contains("attach running"));
    assert!(next().await.contains("attach completed"));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn tables_for_the_night_shift_fit_a_terminal_and_say_what_they_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), world);
    let shown = good(&fake, &["orphans"]).await;
    for line in shown.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
    assert!(
        shown.contains("… and 2 more of phantom: `volumectl orphans list --all`"),
        "{shown}"
    );
    assert!(
        shown.contains("passed over") && shown.contains("adopt"),
        "{shown}"
    );
    let all = good(&fake, &["orphans", "list", "--all"]).await;
    assert_eq!(all.matches(" phantom ").count(), 12, "{all}");
    let json: Value = serde_json::from_str(&good(&fake, &["orphans", "--json"]).await).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 13);
}

#[tokio::test]
async fn the_status_says_what_each_open_operation_waits_for_and_since_when() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        let mut waiting = sample::operation(OperationKind::Detach, OperationStatus::Running);
        waiting.error = Some("the device to go".to_owned());
        let mut status = sample::status(readiness(true));
        status.operations = vec![waiting];
        status.findings = findings();
        Reply::ok(status)
    });
    let shown = good(&fake, &["status"]).await;
    assert!(
        shown.contains("the device to go (since 2026-01-02T03:04:01Z)"),
        "{shown}"
    );
    assert!(shown.contains("and 2 more: `volumectl orphans list`"), "{shown}");
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("passed over:") && line.ends_with('1'))
    );
}
