//! Dashboard and alerts: every name in them is one that the programs expose, with labels that it has, and the rules do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Labels that Prometheus adds, and those of `up`.
const ADDED: [&str; 5] = ["instance", "job", "le", "alertname", "severity"];

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(docs(name)).unwrap()
}

/// The documented metrics, with their kinds and labels. Unit tests of the programs hold the tables to what is exposed.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = read("observability.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let parse = |row: &str| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = cells[3]
            .split(", ")
            .map(|label| label.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty());
        (
            cells[1].trim_matches('`').to_owned(),
            (cells[2].to_owned(), labels.collect()),
        )
    };
    rows.map(parse).collect()
}

/// A name in a query, and the labels that are asked of it right behind.
fn used(query: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find(is_word) {
        let word = &rest[at..];
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let (name, after) = word.split_at(end);
        rest = after;
        if ["volumed_", "migrate_engine_", "process_"]
            .iter()
            .any(|begin| name.starts_with(begin))
        {
            let labels = after
                .strip_prefix('{')
                .map(|inner| inner.split('}').next().unwrap());
            let labels = labels.into_iter().flat_map(|inner| inner.split(','));
            let names = labels.filter_map(|label| Some(label.split(['=', '!']).next()?.trim().to_owned()));
            found.push((name.to_owned(), names.filter(|name| !name.is_empty()).collect()));
        }
    }
    found
}

/// The labels by which a query groups.
fn grouped(query: &str) -> Vec<String> {
    let lists = query
        .split(" by (")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    lists
        .flat_map(|list| list.split(',').map(|label| label.trim().to_owned()))
        .collect()
}

fn judge(what: &str, query: &str, wrong: &mut Vec<String>) {
    let known = documented();
    let mut possible: BTreeSet<String> = ADDED.iter().map(ToString::to_string).collect();
    for (name, labels) in used(query) {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let family = known
            .get(&name)
            .or_else(|| known.get(histogram?).filter(|(kind, _)| kind == "histogram"));
        let Some((_, has)) = family else {
            wrong.push(format!("{what}: nothing exposes `{name}`"));
            continue;
        };
        possible.extend(has.iter().cloned());
        for label in labels
            .iter()
            .filter(|label| !has.contains(*label) && !ADDED.contains(&&***label))
        {
            wrong.push(format!("{what}: `{name}` has no label `{label}`"));
        }
    }
    for label in grouped(query).iter().filter(|label| !possible.contains(*label)) {
        wrong.push(format!("{what}: nothing in it has a label `{label}`"));
    }
}

#[test]
fn names_and_labels_that_are_wrong_are_found() {
    let mut wrong = Vec::new();
    judge(
        "a",
        "sum by (kind) (rate(volumed_operations_total{outcome=\"failed\"}[5m]))",
        &mut wrong,
    );
    assert_eq!(wrong, Vec::<String>::new());
    judge(
        "b",
        "sum by (colour) (volumed_operations_total{shape=\"x\"}) + volumed_nothing_bucket",
        &mut wrong,
    );
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}

#[test]
fn every_panel_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&read("observability/dashboard.json")).unwrap();
    let (mut wrong, mut queries) = (Vec::new(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries += 1;
            judge(
                panel["title"].as_str().unwrap(),
                target["expr"].as_str().unwrap(),
                &mut wrong,
            );
        }
    }
    assert!(queries > 40, "{queries}");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_alert_asks_for_what_there_is_and_leads_to_what_to_do() {
    let (rules, page) = (read("observability/alerts.yaml"), read("observability.md"));
    let anchors: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|title| {
            title
                .to_lowercase()
                .replace(' ', "-")
                .replace(['`', '\'', ','], "")
        })
        .collect();
    let (mut wrong, mut alerts, mut name) = (Vec::new(), 0, "");
    let mut lines = rules.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("- alert: ") {
            (name, alerts) = (found, alerts + 1);
        } else if line == "expr: >-" {
            judge(name, lines.next().unwrap(), &mut wrong);
        } else if let Some(runbook) = line.strip_prefix("runbook: docs/observability.md#")
            && !anchors.contains(runbook)
        {
            wrong.push(format!("{name}: there is no section `{runbook}`"));
        }
    }
    let tests = read("observability/alerts.test.yaml");
    assert_eq!(rules.matches("runbook: ").count(), alerts);
    assert_eq!(
        tests.matches("  - name: ").count(),
        alerts,
        "each alert has a test"
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn promtool_finds_nothing_and_each_alert_comes_when_it_should() {
    let folder = docs("observability");
    for arguments in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ] {
        let ran = Command::new("promtool")
            .args(arguments)
            .current_dir(&folder)
            .output();
        let Ok(output) = ran else {
            assert!(std::env::var_os("CI").is_none(), "CI must have promtool");
            eprintln!("SKIPPED: needs promtool (Debian's package prometheus)");
            return;
        };
        assert!(output.status.success(), "{output:?}");
    }
}
