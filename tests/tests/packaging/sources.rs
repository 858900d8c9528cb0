//! The file of sources that is installed: every key that the parser knows is in it, and what it shows is taken.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use migrate_engine::config::Sources;

use super::root;

/// Kinds of sources, each a table.
const TABLES: [&str; 3] = ["vsphere", "files", "worker"];
/// Of three ways to believe a source only one may stand in the file.
const OTHER_WAYS: [&str; 2] = ["ca_file", "insecure"];

fn delivered() -> String {
    fs::read_to_string(root().join("packaging/migrate-engine/sources.toml")).unwrap()
}

/// The file with all that it shows in force.
fn in_force() -> String {
    let text = delivered();
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("[[") => rest.to_owned(),
        Some(rest) if key_of(rest).is_some_and(|key| !OTHER_WAYS.contains(&key)) => rest.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    key.chars()
        .all(|c| c.is_ascii_lowercase() || c == '_')
        .then_some(key)
}

fn read_in(dir: &Path, text: &str) -> Result<Sources, String> {
    let path = dir.join("sources.toml");
    fs::write(&path, text).unwrap();
    Sources::read(&path).map_err(|error| format!("{error}: {:?}", error.source().map(ToString::to_string)))
}

#[test]
fn what_is_delivered_knows_no_source() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read_in(dir.path(), &delivered()).unwrap().hosts().is_empty());
}

#[test]
fn what_it_shows_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("vcenter.password"), "hunter2\n").unwrap();
    fs::write(dir.path().join("site-a.token"), "0123456789abcdef\n").unwrap();
    let shelf = dir.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    let text = in_force().replace("/srv/shelf", &shelf.display().to_string());
    let sources = read_in(dir.path(), &text).unwrap();
    assert_eq!(sources.hosts(), ["vcenter.example", "shelf", "far.example"]);
}

/// serde names the keys that it knows when it meets one that it does not.
#[test]
fn every_key_that_the_parser_knows_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let delivered = delivered();
    let shown: BTreeSet<_> = delivered
        .lines()
        .filter_map(|line| key_of(line.strip_prefix("# ")?))
        .collect();
    for table in TABLES {
        let said = read_in(dir.path(), &format!("[[{table}]]\nno_such_key = 1\n")).unwrap_err();
        let (_, known) = said.split_once("expected").unwrap_or_else(|| panic!("{said}"));
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        assert!(known.len() > 1, "{said}");
        for key in known {
            assert!(
                shown.contains(key),
                "{table}.{key} is not in the file that is delivered"
            );
        }
    }
}
