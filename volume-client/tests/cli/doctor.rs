//! `volumectl doctor`: how an examination ends, and who examines where no daemon answers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use volume_client::types::{CheckStatus, ErrorCode};

use crate::fake::{Fake, Reply, sample};
use crate::{err, good, out, run};

#[tokio::test]
async fn a_failed_check_is_1_and_a_warning_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| Reply::ok(sample::doctor(CheckStatus::Failed)));
    let output = run(&fake, &["doctor"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("FAILED   devices  links of udev  virtio-AAAA leads to"));
    assert!(
        out(&output).contains("-> restart systemd-udevd"),
        "{}",
        out(&output)
    );
    assert_eq!(err(&output), "error: something will not work\n");
    drop(fake);

    let fake = Fake::start(dir.path(), |_| Reply::ok(sample::doctor(CheckStatus::Warning)));
    good(&fake, &["doctor"]).await;
}

#[tokio::test]
async fn json_is_the_daemons_own() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| Reply::ok(sample::doctor(CheckStatus::Failed)));
    let output = run(&fake, &["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!(
        told,
        serde_json::to_value(sample::doctor(CheckStatus::Failed)).unwrap()
    );
    assert_eq!(fake.calls(), ["GET /api/v1/doctor"]);
}

#[tokio::test]
async fn a_daemon_that_refuses_is_no_reason_to_look_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |_| {
        Reply::problem(ErrorCode::RouteNotFound, "there is no such path")
    });
    let output = run(&fake, &["doctor"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).starts_with("error: there is no such path"));
    assert_eq!(out(&output), "");
}

#[tokio::test]
async fn where_no_daemon_answers_its_program_beside_ours_examines() {
    let dir = tempfile::tempdir().unwrap();
    let ours = installed(dir.path());
    for (code, expected) in [(0, 3), (1, 1)] {
        let script = format!("#!/bin/sh\necho \"asked: $*\"\nexit {code}\n");
        program(&dir.path().join("volumed"), &script);
        let output = alone(&ours, dir.path(), &["doctor", "--json"]).await;
        assert_eq!(output.status.code(), Some(expected), "{}", err(&output));
        assert_eq!(out(&output), "asked: doctor --json\n");
        assert!(err(&output).contains("no daemon answers at"), "{}", err(&output));
        assert!(err(&output).contains("none.sock"), "{}", err(&output));
    }
}

#[tokio::test]
async fn or_the_one_on_the_path_or_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ours = installed(dir.path());
    let output = alone(&ours, dir.path(), &["doctor"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("cannot run `volumed`"), "{}", err(&output));

    std::fs::create_dir(dir.path().join("path")).unwrap();
    program(
        &dir.path().join("path/volumed"),
        "#!/bin/sh\necho \"asked: $*\"\nexit 1\n",
    );
    let output = alone(&ours, dir.path(), &["doctor"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "asked: doctor\n");
}

/// `volumectl`, alone in a directory.
fn installed(dir: &Path) -> PathBuf {
    let ours = dir.join("volumectl");
    std::fs::hard_link(env!("CARGO_BIN_EXE_volumectl"), &ours)
        .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_volumectl"), &ours).map(drop))
        .unwrap();
    ours
}

fn program(path: &Path, text: &str) {
    // Under another name first: a program that is being written cannot be started.
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Runs it where there is no daemon, with one directory to look for programs in.
async fn alone(ours: &Path, dir: &Path, args: &[&str]) -> Output {
    Command::new(ours)
        .env_remove("VOLUMED_URL")
        .env("VOLUMED_SOCKET", dir.join("none.sock"))
        .env("PATH", dir.join("path"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}
