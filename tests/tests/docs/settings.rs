//! Every key of the configuration and every environment variable is told of, and none that is gone.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use regex::Regex;
use whole_system_tests::volumed;

use crate::page::{Block, page, pages, text_of, workspace};
use crate::programs::Programs;

const PAGE: &str = "docs/configuration.md";

type Names = BTreeSet<String>;

/// What the tables under a heading begin their rows with.
fn told(heading: &str) -> Names {
    let rows = page(PAGE).rows.into_iter().filter(|row| row.under == heading);
    rows.flat_map(|row| row.codes).collect()
}

/// The daemon's keys, as it names them where one is unknown.
fn keys_of_the_daemon() -> Names {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "no_such_key = 1").unwrap();
    let said = volumed([Path::new("check-config"), Path::new("--config"), file.path()]).stderr;
    let key = Regex::new(r"[a-z_]+(?:\.[a-z_]+)?").unwrap();
    let known = said
        .rsplit_once("no_such_key")
        .expect("it names what is unknown")
        .1;
    let known = known.rsplit_once(": ").expect("it lists what is known").1;
    key.find_iter(known)
        .map(|found| found.as_str().to_owned())
        .collect()
}

#[test]
fn every_key_of_the_daemon_is_told() {
    let keys = keys_of_the_daemon();
    assert!(
        keys.contains("cloudstack.zone") && keys.contains("database"),
        "{keys:?}"
    );
    assert_eq!(told("The daemon's keys"), keys, "left: {PAGE}; right: the daemon");
}

/// A page may call a key `section.name`; then it is one.
#[test]
fn every_key_that_a_page_mentions_is_one() {
    let keys = keys_of_the_daemon();
    let sections: Names = keys
        .iter()
        .filter_map(|key| Some(key.split_once('.')?.0.to_owned()))
        .collect();
    let shape = Regex::new(r"^([a-z]+)\.([a-z_]+)(?: = .*)?$").unwrap();
    let mut wrong = Vec::new();
    for page in pages() {
        for span in &page.spans {
            let Some(found) = shape.captures(span) else {
                continue;
            };
            let is_file = [
                "toml", "rs", "md", "db", "sock", "sql", "service", "socket", "json",
            ]
            .contains(&&found[2]);
            let key = format!("{}.{}", &found[1], &found[2]);
            if sections.contains(&found[1]) && !is_file && !keys.contains(&key) {
                wrong.push(format!("{}: `{span}`", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_of_the_file_of_sources_is_told() {
    for (heading, section) in [
        ("[[vsphere]]", "vsphere"),
        ("[[files]]", "files"),
        ("[[worker]]", "worker"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sources.toml");
        fs::write(&file, format!("[[{section}]]\nno_such_key = 1\n")).unwrap();
        let error = migrate_engine::config::Sources::read(&file).unwrap_err();
        assert_eq!(
            told(heading),
            expected(&error),
            "left: {PAGE}; right: what is read"
        );
    }
}

/// The keys that a reader names where one is unknown.
fn expected(error: &(dyn Error + 'static)) -> Names {
    let said = error.source().unwrap_or(error).to_string();
    let names = said.rsplit_once("expected").expect("it names the keys").1;
    let name = Regex::new("`([a-z_]+)`").unwrap();
    name.captures_iter(names)
        .map(|found| found[1].to_owned())
        .collect()
}

/// The page of schedules tells its keys by an example with everything: each key there is, and no other, stands in it.
#[test]
fn every_key_of_the_file_of_schedules_is_in_its_example() {
    const UNKNOWN: &str = "no_such_key = 1";
    let page = page("docs/scheduling.md");
    let is_example =
        |block: &&Block| block.info.as_deref() == Some("toml") && block.text.contains("[bandwidth]");
    let example = page.blocks.iter().find(is_example).expect("there is an example");
    let example: toml::Value = toml::from_str(&example.text).unwrap();
    let schedule = "[[schedule]]\nname = 'a'\ncalendar = '02:30'\n";
    for (path, broken) in [
        (&[][..], UNKNOWN.to_owned()),
        (&["schedule"], format!("[[schedule]]\n{UNKNOWN}")),
        (
            &["schedule", "what"],
            format!("{schedule}[[schedule.what]]\n{UNKNOWN}"),
        ),
        (&["bandwidth"], format!("[bandwidth]\n{UNKNOWN}")),
        (
            &["bandwidth", "windows"],
            format!("[bandwidth]\nwindows = [{{ {UNKNOWN} }}]"),
        ),
    ] {
        let error = migrate_engine::schedule::Plan::from_toml(&broken).unwrap_err();
        assert_eq!(keys_at(&example, path), expected(&error), "{path:?}");
    }
}

/// The keys of all tables at a place.
fn keys_at(value: &toml::Value, path: &[&str]) -> Names {
    match (value, path) {
        (toml::Value::Array(items), _) => items.iter().flat_map(|item| keys_at(item, path)).collect(),
        (toml::Value::Table(table), [first, rest @ ..]) => table
            .get(*first)
            .map_or_else(Names::new, |inner| keys_at(inner, rest)),
        (toml::Value::Table(table), []) => table.keys().cloned().collect(),
        _ => Names::new(),
    }
}

#[test]
fn every_environment_variable_is_told() {
    // Those of keys follow from the keys; those of systemd are read by its library.
    let mut variables: Names = [
        "VOLUMED_SECTION_KEY",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "WATCHDOG_USEC",
    ]
    .map(str::to_owned)
    .into();
    let in_help = Regex::new(r"\[env: ([A-Z_]+)=").unwrap();
    let in_text = Regex::new(r"(?m)^  ([A-Z]+_[A-Z_]+)  ").unwrap();
    let mut programs = Programs::default();
    for program in ["volumed", "volumectl", "migrate-engine"] {
        for (_, help) in programs.all(program) {
            for found in in_help
                .captures_iter(&help.text)
                .chain(in_text.captures_iter(&help.text))
            {
                variables.insert(found[1].to_owned());
            }
        }
    }
    let in_code = Regex::new(r#"env(?:::var|::var_os)?\("([A-Z]+_[A-Z_]+)"\)"#).unwrap();
    for source in [
        "migrate-engine/src/main.rs",
        "volumed/src/cloud/cloudstack/credentials.rs",
    ] {
        let text = text_of(source);
        variables.extend(in_code.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    assert_eq!(
        told("Environment variables"),
        variables,
        "left: {PAGE}; right: the programs"
    );
}

/// Flags of the service are its configuration: each has a row.
#[test]
fn every_flag_of_the_service_is_told() {
    let words = ["migrate-engine", "serve"].map(str::to_owned);
    let mut flags = Programs::default().help(&words).flags.clone();
    flags.remove("--help");
    assert_eq!(
        told("The service's flags"),
        flags,
        "left: {PAGE}; right: migrate-engine serve --help"
    );
    assert!(workspace().join(PAGE).is_file());
}
