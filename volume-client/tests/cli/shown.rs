//! What is printed: golden tables, and JSON that is the API's own.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use volume_client::types::{
    Check, CheckStatus, Condition, ConditionKind, EventKind, OperationKind, OperationStatus, Readiness,
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
            other => panic!("unexpected {other}"),
        };
    }
    match path {
        "/volumes" => Reply::page(&[troubled()]),
        "/devices" => Reply::page(&[sample::device()]),
        "/mappings" => Reply::page(&[sample::mapping()]),
        "/leases" => Reply::page(&[sample::lease()]),
        "/findings" => Reply::page(&[sample::finding()]),
        "/operations" => Reply::page(&[sample::failed(OperationKind::Attach)]),
        "/status" => Reply::ok(sample::status(readiness(true))),
        "/doctor" => Reply::ok(sample::doctor(CheckStatus::Passed)),
        other if other.starts_with("/operations/") => Reply::ok(sample::failed(OperationKind::Attach)),
        other => panic!("unexpected {other}"),
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
