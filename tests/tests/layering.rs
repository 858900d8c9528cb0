//! Guards the shape of the house: arrows between crates, order of modules, purity of the models, size of files.
//!
//! Each rule is a pure function from text to violations, and has a test with a snippet that violates it.

#[path = "layering/crates.rs"]
mod crates;
#[path = "layering/files.rs"]
mod files;
#[path = "layering/modules.rs"]
mod modules;
#[path = "layering/scan.rs"]
mod scan;

use std::path::{Path, PathBuf};
use std::process::Command;

use modules::Layers;

const VOLUMED: Layers = Layers {
    order: &[
        "crash",
        "model",
        "config",
        "metrics",
        "cloud",
        "device",
        "store",
        "auth",
        "operation",
        "reconcile",
        "doctor",
        "fsck",
        "api",
        "app",
        "cli",
        "fuzz",
    ],
    strangers: &[
        ("cloud", "device"),
        ("cloud", "store"),
        ("device", "cloud"),
        ("device", "store"),
        ("store", "cloud"),
        ("store", "device"),
        ("api", "cloud"),
        ("api", "device"),
    ],
};

const MIGRATE_ENGINE: Layers = Layers {
    order: &[
        "model", "config", "process", "block", "transfer", "source", "worker", "target", "guest", "store",
        "pipeline", "schedule", "api", "app", "cli", "fuzz",
    ],
    strangers: &[("source", "target"), ("target", "source")],
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "layering:\n  {}", violations.join("\n  "));
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
        ])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_none(&crates::violations(&String::from_utf8(output.stdout).unwrap()).unwrap());
}

#[test]
fn modules_of_volumed_use_only_those_before_them() {
    assert_none(&VOLUMED.violations(&sources("volumed")));
}

#[test]
fn modules_of_migrate_engine_use_only_those_before_them() {
    assert_none(&MIGRATE_ENGINE.violations(&sources("migrate-engine")));
}

#[test]
fn models_do_no_io_and_have_no_clock() {
    let all = ["volumed", "migrate-engine"].map(sources).concat();
    assert!(!all.is_empty());
    assert_none(&modules::impurities(&all));
}

#[test]
fn files_are_small_and_say_what_they_are() {
    let sources = files::rust_files(root());
    assert!(
        sources
            .iter()
            .any(|file| file.path.ends_with("tests/layering.rs")),
        "looked in the wrong place"
    );
    assert_none(&files::violations(&sources));
}

/// The production files below `src` of a crate.
fn sources(name: &str) -> Vec<modules::Source> {
    let src = root().join(name).join("src");
    let files: Vec<(PathBuf, String)> = files::rust_files(&src)
        .into_iter()
        .map(|file| {
            (
                file.path.strip_prefix(&src).expect("found below it").to_owned(),
                file.text,
            )
        })
        .collect();
    modules::production(name, &files)
}
