//! The metadata of the packages: every file that they list is here, every file that is here is in a package, scripts are shell.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use super::root;

/// The crates that packages are made of.
const CRATES: [&str; 3] = ["volumed", "migrate-engine", "volume-client"];
/// What a build makes, and is not in the source tree.
const MADE: [&str; 2] = ["target/release/", "../target/dist/"];

fn metadata(of: &str) -> Table {
    let text = fs::read_to_string(root().join(of).join("Cargo.toml")).unwrap();
    let manifest: Table = text.parse().unwrap();
    manifest["package"]["metadata"]["deb"].as_table().unwrap().clone()
}

/// Source and target of each file, as the metadata has them.
fn assets(of: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata(of)["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| (text(&asset[0]), text(&asset[1])))
        .collect()
}

fn in_tree(of: &str) -> Vec<PathBuf> {
    let sources = assets(of).into_iter().map(|(source, _)| source);
    sources
        .filter(|source| !MADE.iter().any(|made| source.starts_with(made)))
        .map(|source| root().join(of).join(source))
        .collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn every_listed_file_is_here() {
    for of in CRATES {
        for path in in_tree(of) {
            assert!(
                path.is_file(),
                "{of} lists {}, which is not there",
                path.display()
            );
        }
        for (_, target) in assets(of) {
            assert!(!target.starts_with('/'), "{of}: {target} begins with a slash");
        }
    }
}

#[test]
fn every_file_for_packages_is_in_one() {
    let canonical = |path: PathBuf| path.canonicalize().unwrap();
    let listed: BTreeSet<_> = CRATES.iter().flat_map(|of| in_tree(of)).map(canonical).collect();
    let scripts = ["postinst", "prerm", "postrm", "templates"];
    for path in ["systemd", "packaging"]
        .iter()
        .flat_map(|folder| files_below(&root().join(folder)))
    {
        let is_script = scripts.iter().any(|script| path.ends_with(script));
        assert!(
            is_script || listed.contains(&canonical(path.clone())),
            "{} is in no package",
            path.display()
        );
    }
}

#[test]
fn what_is_asked_of_an_administrator_is_in_the_package() {
    for of in ["volumed", "migrate-engine"] {
        let targets: Vec<_> = assets(of).into_iter().map(|(_, target)| target).collect();
        let has = |place: &str| targets.iter().any(|target| target.starts_with(place));
        for place in [
            "usr/bin/",
            &format!("etc/{of}/"),
            "lib/systemd/system/",
            "usr/lib/sysusers.d/",
            "usr/lib/tmpfiles.d/",
            "usr/share/man/man1/",
            "usr/share/bash-completion/",
            &format!("usr/share/doc/{of}/sbom.cdx.json"),
        ] {
            assert!(has(place), "{of} has nothing in {place}");
        }
    }
}

#[test]
fn scripts_are_shell_that_stops_at_an_error_and_keeps_records_unless_told() {
    for of in ["volumed", "migrate-engine"] {
        let folder = root().join("packaging").join(of);
        for script in ["postinst", "prerm", "postrm"] {
            let path = folder.join(script);
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"),
                "{}",
                path.display()
            );
            let parsed = Command::new("sh").arg("-n").arg(&path).output().unwrap();
            assert!(parsed.status.success(), "{}: {parsed:?}", path.display());
        }
        let templates = fs::read_to_string(folder.join("templates")).unwrap();
        assert!(
            templates.contains("/purge-records\nType: boolean\nDefault: false\n"),
            "{templates}"
        );
    }
}
