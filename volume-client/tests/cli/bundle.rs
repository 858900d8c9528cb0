//! `volumectl support-bundle`: one file for its owner's eyes, without secrets, also where no daemon answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use volume_client::types::{CheckStatus, ErrorCode};

use crate::fake::{Fake, Reply, sample};
use crate::{err, out, run, volumectl};

const SECRET: &str = "hunter2hunter2";

/// What the bundle holds, by names without its folder.
fn opened(file: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(file).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let name = path.iter().skip(1).collect::<std::path::PathBuf>();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name.display().to_string(), text)
    });
    entries.collect()
}

fn part<'m>(manifest: &'m Value, name: &str) -> &'m Value {
    let parts = manifest["parts"].as_array().unwrap();
    parts
        .iter()
        .find(|part| part["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {manifest:#}"))
}

#[tokio::test]
async fn a_bundle_holds_what_there_is_and_says_what_there_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path(), |request| match request.path.as_str() {
        "/api/v1/doctor" => Reply::ok(sample::doctor(CheckStatus::Failed)),
        _ => Reply::problem(ErrorCode::RouteNotFound, &format!("password={SECRET}")),
    });
    let config = dir.path().join("volumed.toml");
    fs::write(
        &config,
        format!("listen = \"127.0.0.1:1\"\npassword = \"{SECRET}\"\n"),
    )
    .unwrap();
    let log = dir.path().join("own.log");
    fs::write(
        &log,
        format!("begin {}\nnbd://joe:{SECRET}@host/x\n", "x".repeat(9 << 20)),
    )
    .unwrap();
    let (file, nowhere) = (dir.path().join("b.tar.gz"), dir.path().join("nowhere"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "support-bundle",
        "-o",
        &path(&file),
        "--config",
        &path(&config),
        "--engine-config",
        &path(&nowhere),
        "--engine-url",
        "http://127.0.0.1:9",
        "--log-file",
        &path(&log),
    ];
    let output = run(&fake, &arguments).await;
    assert!(output.status.success(), "{}", err(&output));
    assert!(
        out(&output).contains("look through it before"),
        "{}",
        out(&output)
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let parts = opened(&file);
    let manifest: Value = serde_json::from_str(&parts["manifest.json"]).unwrap();
    assert!(parts["config/volumed.toml"].contains("listen = \"127.0.0.1:1\""));
    assert!(parts["daemon/doctor.json"].contains("links of udev"));
    assert!(parts["machine/os-release.txt"].contains("NAME="));
    assert_eq!(part(&manifest, "config/volumed.toml")["scrubbed"], 1);
    assert_eq!(part(&manifest, "daemon/status.json")["outcome"], "failed");
    assert_eq!(part(&manifest, "engine/metrics.txt")["outcome"], "failed");
    assert_eq!(part(&manifest, "config/sources.toml")["outcome"], "failed");
    assert!(parts["logs/0-own.log"].len() <= 8 << 20);
    for (name, text) in &parts {
        assert!(!text.contains(SECRET), "{name}: {text}");
    }

    // What is there stays.
    let again = run(&fake, &arguments).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("is there already"), "{}", err(&again));
    let left = fs::read_dir(dir.path()).unwrap().flatten();
    assert!(
        !left
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().contains(".partial"))
    );
}

#[tokio::test]
async fn where_no_daemon_answers_the_machine_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b.tar.gz");
    let output = volumectl()
        .args([
            "--socket",
            "/nowhere/v.sock",
            "support-bundle",
            "--engine-url",
            "http://127.0.0.1:9",
            "-o",
        ])
        .arg(&file)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let parts = opened(&file);
    let manifest: Value = serde_json::from_str(&parts["manifest.json"]).unwrap();
    assert!(
        manifest["daemon"]
            .as_str()
            .unwrap()
            .starts_with("does not answer"),
        "{manifest:#}"
    );
    assert!(parts.contains_key("machine/mountinfo.txt") && parts.contains_key("machine/sysfs-block.txt"));
    let status = part(&manifest, "daemon/status.json");
    assert!(
        status["error"].as_str().unwrap().contains("/nowhere/v.sock"),
        "{status}"
    );
}
