//! `volumed doctor` as a process: alone, beside a daemon, with a broken configuration.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at what it does not expect"
)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::Place;
use volume_client::types::{CheckArea, CheckStatus, DoctorCheck, DoctorReport};
use volumed::store::Store;

fn volumed(dir: &Path, arguments: &[&str]) -> Output {
    volumed_with(dir, arguments, &[])
}

fn volumed_with(dir: &Path, arguments: &[&str], keys: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volumed"));
    command
        .arg("doctor")
        .args(["--config", "/dev/null", "--vm-id", "vm"]);
    command.env("VOLUMED_DATABASE", dir.join("volumed.db"));
    command.env("VOLUMED_SOCKET", dir.join("volumed.sock"));
    command.env("VOLUMED_LOCAL_ROOT", dir.join("cloud"));
    command
        .envs(keys.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn report(output: &Output) -> DoctorReport {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn named<'a>(report: &'a DoctorReport, area: CheckArea, name: &str) -> &'a DoctorCheck {
    let mut checks = report.checks.iter();
    let found = checks.find(|check| check.area == area && check.name == name);
    found.unwrap_or_else(|| panic!("no check `{name}` of {area:?} in {report:#?}"))
}

/// The exit status says whether something failed, and nothing else.
fn assert_exit_fits(output: &Output, report: &DoctorReport) {
    let expected = i32::from(report.has_failures());
    assert_eq!(output.status.code(), Some(expected), "{report:#?}");
}

#[test]
fn before_the_first_start_it_examines_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = volumed(dir.path(), &["--json"]);
    let report = report(&output);
    assert_exit_fits(&output, &report);
    for (area, name, seen) in [
        (CheckArea::Daemon, "configuration", "every key"),
        (CheckArea::Daemon, "database", "will be made"),
        (CheckArea::Daemon, "socket", "no daemon listens on"),
        (CheckArea::Cloud, "root", "can be made"),
        (CheckArea::Devices, "disk buses", ""),
    ] {
        let check = named(&report, area, name);
        assert_eq!(check.status, CheckStatus::Passed, "{check:?}");
        assert!(check.seen.contains(seen), "{check:?}");
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "it made something"
    );
}

#[test]
fn people_get_the_same_as_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let output = volumed(dir.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("STATUS   AREA     CHECK"), "{text}");
    assert!(text.contains("passed   daemon   configuration"), "{text}");
    assert!(text.trim_end().ends_with("failed"), "{text}");
}

#[test]
fn every_problem_of_the_configuration_is_a_failed_check_and_the_rest_is_examined() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("broken.toml");
    std::fs::write(&config, "databse = \"x\"\n[operations]\nconcurrency = \"many\"\n").unwrap();
    let config = config.to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_volumed"))
        .args(["doctor", "--json", "--config", config])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    let problems: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.name == "configuration")
        .collect();
    assert!(problems.len() >= 2, "{report:#?}");
    assert!(problems.iter().all(|check| check.status == CheckStatus::Failed));
    let said = problems
        .iter()
        .map(|check| check.seen.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    assert!(said.contains("databse") && said.contains("many"), "{said}");
    named(&report, CheckArea::Devices, "udevd");
    named(&report, CheckArea::Host, "clock");
}

#[test]
fn what_keeps_a_daemon_from_starting_fails() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("volumed.db"), "no database at all").unwrap();
    std::fs::write(dir.path().join("cloud"), "no folder").unwrap();
    std::fs::write(dir.path().join("volumed.sock"), "no socket").unwrap();
    let output = volumed(dir.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    for (area, name, seen) in [
        (CheckArea::Daemon, "database", "is no SQLite file"),
        (CheckArea::Daemon, "socket", "is no socket"),
        (CheckArea::Cloud, "root", "is no folder"),
    ] {
        let check = named(&report, area, name);
        assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
        assert!(check.seen.contains(seen) && check.advice.is_some(), "{check:?}");
    }
}

#[test]
fn a_loopback_that_asks_nobody_and_a_certificate_that_is_not_there_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let examine = |keys: &[(&str, &str)]| report(&volumed_with(dir.path(), &["--json"], keys));
    let listen = ("VOLUMED_LISTEN", "127.0.0.1:8090");
    let open = examine(&[listen]);
    let check = named(&open, CheckArea::Daemon, "loopback");
    assert_eq!(check.status, CheckStatus::Warning, "{check:?}");
    assert!(
        check.advice.as_ref().unwrap().contains("http.require_token"),
        "{check:?}"
    );
    let guarded = examine(&[listen, ("VOLUMED_HTTP_REQUIRE_TOKEN", "true")]);
    let check = named(&guarded, CheckArea::Daemon, "loopback");
    assert_eq!(check.status, CheckStatus::Passed, "{check:?}");

    let files = serving::CertificateFiles {
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    let tls = [
        listen,
        ("VOLUMED_TLS_CERTIFICATE", files.certificate.to_str().unwrap()),
        ("VOLUMED_TLS_KEY", files.key.to_str().unwrap()),
    ];
    let missing = examine(&tls);
    let check = named(&missing, CheckArea::Daemon, "certificate");
    assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
    assert!(check.seen.contains("cert.pem"), "{check:?}");
    serving::certificate::make_where_missing(&files).unwrap();
    let made = examine(&tls);
    let check = named(&made, CheckArea::Daemon, "certificate");
    assert_eq!(check.status, CheckStatus::Passed, "{check:?}");
}

#[tokio::test]
async fn beside_a_daemon_it_takes_nothing_from_it() {
    // Holds root and database, as a daemon does.
    let Some(place) = Place::new() else { return };
    let store = Store::open(&place.dir.path().join("volumed.db")).unwrap();
    let dir = place.dir.path().to_owned();
    let output = tokio::task::spawn_blocking(move || volumed(&dir, &["--json"]))
        .await
        .unwrap();
    let report = report(&output);
    assert_exit_fits(&output, &report);
    for (area, name, seen) in [
        (CheckArea::Cloud, "root", "can be written to"),
        (CheckArea::Daemon, "database", "volumed.db"),
    ] {
        let check = named(&report, area, name);
        assert_eq!(check.status, CheckStatus::Passed, "{check:?}");
        assert!(check.seen.contains(seen), "{check:?}");
    }
    // It still is the daemon's.
    let writes = store
        .write(|tx| volumed::store::meta::get_or_set(tx, "key", "value"))
        .await;
    assert_eq!(writes.unwrap(), "value");
    store.close().await;
}
