//! How failing looks: error, cause and hint on standard error, and an exit code for each kind.

use volume_client::types::{ErrorCode, OperationKind, OperationStatus};

use crate::fake::{Fake, Reply, sample};
use crate::{err, out, run, volumectl};

#[tokio::test]
async fn a_refusal_is_1_with_hint_and_request_id() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        Reply::problem(ErrorCode::VolumeNotFound, "there is no such volume")
    });
    let output = run(&fake, &["device", sample::VOLUME]).await;
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: there is no such volume (volume_not_found)\nhint: do something about it\n\
                    request id: req-1\n";
    assert_eq!((out(&output), err(&output)), ("", expected));
}

#[tokio::test]
async fn a_failed_operation_is_1_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.method.as_str() {
        "POST" => Reply::accepted(sample::operation(OperationKind::Detach, OperationStatus::Pending)),
        _ => Reply::ok(sample::failed(OperationKind::Detach)),
    });
    let output = run(&fake, &["detach", sample::VOLUME]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(
        text.contains("no device of that identity came") && text.contains("hint: look at"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_usage_is_2() {
    for args in [
        &["volumes", "create", "x", "--size", "10G"][..],
        &["volumes", "create", "x", "--size", "1GiB", "--source-vm", "v"],
        &["--socket", "/x", "--url", "http://127.0.0.1:1", "status"],
        &["--url", "http://192.0.2.1:8090", "status"],
        &["operations", "show", "not-an-id"],
        &["dance"],
        &[],
    ] {
        let output = volumectl().args(args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
    }
}

#[tokio::test]
async fn no_daemon_is_3_and_says_where_it_was_sought() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let output = volumectl()
        .env("VOLUMED_SOCKET", &socket)
        .arg("status")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = err(&output);
    assert!(
        text.contains("none.sock") && text.contains("cause: ") && text.contains("hint: "),
        "{text}"
    );
}

#[tokio::test]
async fn unknown_is_4_and_tells_how_to_find_out() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |seen| match seen.method.as_str() {
        "POST" => Reply::accepted(sample::operation(OperationKind::Detach, OperationStatus::Pending)),
        _ => Reply::ok(sample::operation(OperationKind::Detach, OperationStatus::Running)),
    });
    let output = run(&fake, &["detach", sample::VOLUME, "--timeout", "1s"]).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(err(&output).contains(&format!("volumectl operations watch {}", sample::OPERATION)));
    drop(fake);

    let fake = Fake::start(dir.path(), |_| Reply::HangUp);
    let args = ["detach", sample::VOLUME, "--idempotency-key", "key-of-mine"];
    let output = run(&fake, &args).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(err(&output).contains("key-of-mine"), "{}", err(&output));
}

#[tokio::test]
async fn not_ready_is_5() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        Reply::problem(ErrorCode::NotReady, "recovery is under way")
    });
    let output = run(&fake, &["status"]).await;
    assert_eq!(output.status.code(), Some(5));
    assert!(err(&output).contains("recovery is under way"));
}

#[tokio::test]
async fn help_completions_and_manual_need_no_daemon() {
    for args in [
        &["--help"][..],
        &["completions", "bash"],
        &["man"],
        &["volumes", "create", "--help"],
    ] {
        let output = volumectl().args(args).output().await.unwrap();
        assert!(
            output.status.success() && out(&output).contains("volume"),
            "{args:?}"
        );
    }
    let help = volumectl().arg("--help").output().await.unwrap();
    assert!(out(&help).contains("4  outcome unknown"));
}
