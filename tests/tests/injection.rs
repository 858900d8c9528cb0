//! Hostile texts through every field that takes a text: no file, no line of a log and no terminal may be changed by one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;
use whole_system_tests::{Answer, Appliance, Raw, VM, volumectl};

const MIB: u64 = 1 << 20;

const HOSTILE: &[&str] = &[
    "../../../../tmp/out-of-here",
    "/etc/passwd",
    "..",
    ".",
    "a\0b",
    "a\nlevel=ERROR forged",
    "a\r\nX-Forged: yes",
    "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"ERROR\",\"message\":\"forged\"}",
    "a\u{1b}]0;owned\u{7}\u{1b}[2J",
    "a\u{9b}31mb",
    "safe\u{202e}gnp.exe",
    "'; DROP TABLE volumes; --",
    "\" OR 1=1",
    "$(touch /tmp/out-of-here)`id`|;&",
    "%n%s%00%2e%2e%2f",
    "%i%h%H",
    "[generic]\nexportname = /dev/vda",
    "x]\n[other",
    "file=/dev/vda,driver=raw",
    "a,b=c",
    "--force",
    "-rf",
    "key=value command=/bin/sh",
    "\u{feff}\u{200b}",
    "ﬀ\u{301}\u{1f600}",
];

/// Every hostile text, and one that is very long.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    all.push("x".repeat(100_000));
    all
}

fn is_harmless(text: &str) -> bool {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.chars().any(|c| (c.is_control() && c != '\n') || turns(c))
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// An answer that is no defect: taken, or refused with a problem.
#[track_caller]
fn fine(answer: &Answer, text: &str) {
    assert!(answer.status.as_u16() < 500, "{text:?}: {answer:#?}");
    if !answer.status.is_success() {
        let problem = answer.problem();
        assert!(problem.detail.len() < 2000, "{text:?}: {problem:?}");
    }
}

async fn in_every_field(raw: &Raw, volume: &str, text: &str) {
    let at = |rest: &str| format!("/api/v1/volumes/{volume}{rest}");
    for (path, body) in [
        (
            "/api/v1/volumes".to_owned(),
            json!({"name": text, "size_bytes": MIB}),
        ),
        (
            "/api/v1/volumes".to_owned(),
            json!({"name": "plain", "size_bytes": MIB, "source": {"vm": text, "disk": text}}),
        ),
        (
            "/api/v1/volumes/adopt".to_owned(),
            json!({"name": "plain", "provider_volume_id": text}),
        ),
        (at("/attach"), json!({"vm_id": text})),
        (at("/snapshots"), json!({"name": text})),
        (
            "/api/v1/leases".to_owned(),
            json!({"volume_id": volume, "purpose": "export", "access": "read", "holder": text, "detail": text}),
        ),
        (
            "/api/v1/findings/abababababab/ignore".to_owned(),
            json!({"why": text}),
        ),
    ] {
        fine(&raw.post(&path, body.to_string()).await, text);
    }
    if text.len() > 10_000 {
        return; // The server refuses such a head before it is ours.
    }
    for name in ["cursor", "name", "source_vm", "source_disk"] {
        let request = raw.request(Method::GET, "/api/v1/volumes").query(&[(name, text)]);
        fine(&raw.send(request).await, text);
    }
    let request = raw
        .request(Method::DELETE, &at(""))
        .query(&[("confirm_name", text)]);
    fine(&raw.send(request).await, text);
    for header in ["idempotency-key", "x-request-id", "last-event-id", "content-type"] {
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
            continue;
        };
        let request = raw.request(Method::POST, &at("/detach")).header(header, value);
        fine(&raw.send(request.body("{}")).await, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_change_no_file_no_log_and_no_terminal() {
    let Some(mut appliance) = Appliance::new() else {
        return;
    };
    appliance.setup.log_format = "json";
    appliance.start().await;
    let around = names_in(appliance.dir().parent().unwrap());
    let before = names_in(appliance.dir());
    let volume = appliance.create("plain", MIB).await.id;
    appliance.attach(volume).await;
    let raw = appliance.raw();
    for text in hostile() {
        in_every_field(&raw, &volume.to_string(), &text).await;
    }
    for command in [
        vec!["volumes"],
        vec!["explain", &volume.to_string()],
        vec!["leases"],
        vec!["operations"],
        vec!["audit"],
    ] {
        let said = tokio::task::block_in_place(|| volumectl(&appliance.setup.socket, &command));
        assert!(is_harmless(&said.stdout), "{command:?}: {:?}", said.stdout);
        assert!(is_harmless(&said.stderr), "{command:?}: {:?}", said.stderr);
    }
    assert!(!Path::new("/tmp/out-of-here").exists());
    let new: Vec<_> = names_in(appliance.dir()).difference(&before).cloned().collect();
    assert!(new.iter().all(|name| name.starts_with("v.db")), "{new:?}");
    let odd = |name: &&String| {
        !name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    let files = names_in(&appliance.setup.local_root);
    assert_eq!(files.iter().find(odd), None, "{files:?}");
    let around_now = names_in(appliance.dir().parent().unwrap());
    let strange: Vec<_> = around_now
        .difference(&around)
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert!(
        strange
            .iter()
            .all(|name| !name.contains("here") && !name.contains("passwd")),
        "{strange:?}"
    );

    // Each line is an object of ours, and none is a text of theirs.
    assert!(
        appliance
            .log_lines()
            .iter()
            .all(|line| line["message"] != "forged")
    );
    assert!(
        is_harmless(&appliance.log()),
        "the log holds what a terminal obeys"
    );
    assert_eq!(appliance.client().status().await.unwrap().vm_id, VM);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_for_people_has_no_lines_of_others() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let volume = appliance.create("plain", MIB).await.id.to_string();
    for text in hostile() {
        in_every_field(&appliance.raw(), &volume, &text).await;
    }
    let log = appliance.log();
    assert!(is_harmless(&log), "the log holds what a terminal obeys");
    for line in log.lines() {
        assert!(line.starts_with("20"), "a line without a time: {line:?}");
    }
}
