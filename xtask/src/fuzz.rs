//! `cargo xtask fuzz`: what parses foreign bytes, under a fuzzer and a sanitizer, for a bounded time.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{check, find, output};
use crate::{console, workspace};

/// Most memory that an input may cost, in MiB; the sanitizer's own is a part of it.
const MEMORY_MIB: u32 = 1024;
/// What takes longer than this, in seconds, hangs.
const PATIENCE: u32 = 20;

#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// The targets; all of them otherwise.
    targets: Vec<String>,
    /// How long in all, divided equally.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
}

/// Fuzzes until the time is over or something is found.
pub(crate) fn fuzz(args: &FuzzArgs) -> Result<ExitCode> {
    if find("cargo-fuzz").is_none() {
        console::step("install cargo-fuzz");
        check(workspace::cargo().args(["install", "cargo-fuzz", "--locked", "--quiet"]))?;
    }
    let all: Vec<String> = output(cargo_fuzz().arg("list"))?
        .lines()
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        bail!("no target `{unknown}`; there are {}", all.join(", "));
    }
    let targets = if args.targets.is_empty() {
        &all
    } else {
        &args.targets
    };
    // Sockets of the targets, which a fuzzer does not take away.
    let scratch = workspace::root().join("fuzz/target/tmp");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let seconds = args.minutes * 60 / targets.len().max(1) as u64;
    for target in targets {
        console::step(&format!("fuzz {target} for {seconds} s"));
        let mut run = cargo_fuzz();
        run.env("TMPDIR", &scratch);
        run.arg("run").arg(target).args(corpora(target)?).arg("--");
        run.args([
            format!("-max_total_time={seconds}"),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            format!("-malloc_limit_mb={MEMORY_MIB}"),
            format!("-timeout={PATIENCE}"),
            "-print_final_stats=1".to_owned(),
            "-max_len=16384".to_owned(),
        ]);
        // What it found lies in fuzz/artifacts, and the fuzzer has said how to repeat it.
        check(&mut run)?;
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Where what is new is kept, and what every run begins with: the seeds, which every run of the tests replays too.
fn corpora(target: &str) -> Result<Vec<PathBuf>> {
    let fuzz = workspace::root().join("fuzz");
    let (grown, seeds) = (fuzz.join("corpus").join(target), fuzz.join("seeds").join(target));
    fs::create_dir_all(&grown).with_context(|| format!("cannot make {}", grown.display()))?;
    let all = [grown, seeds];
    Ok(all.into_iter().filter(|folder| folder.is_dir()).collect())
}

/// The sanitizer and the coverage are flags that a stable compiler takes only when told to.
fn cargo_fuzz() -> std::process::Command {
    let mut cargo = workspace::cargo();
    cargo.arg("fuzz").env("RUSTC_BOOTSTRAP", "1");
    cargo
}
