//! `volumectl` as it is run: its arguments, output, errors and exit codes, against a fake daemon.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../fake/mod.rs"]
mod fake;

mod bundle;
mod changes;
mod doctor;
mod failures;
mod shown;

use std::process::{Output, Stdio};

use fake::Fake;
use tokio::process::Command;

fn volumectl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volumectl"));
    command
        .env_remove("VOLUMED_URL")
        .env_remove("VOLUMED_SOCKET")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(fake: &Fake, args: &[&str]) -> Output {
    volumectl()
        .arg("--socket")
        .arg(&fake.socket)
        .args(args)
        .output()
        .await
        .unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The output of a run that must succeed.
async fn good(fake: &Fake, args: &[&str]) -> String {
    let output = run(fake, args).await;
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    out(&output).to_owned()
}
