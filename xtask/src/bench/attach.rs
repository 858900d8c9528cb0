//! `cargo xtask bench attach`: from the kernel's uevent to the committed mapping, beside a poll once a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::machine;
use crate::command::{check, output, status};
use crate::run::{self, Run};
use crate::{console, root, workspace};

#[derive(Args)]
pub(crate) struct AttachArgs {
    /// Also write the result here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many attaches are measured.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
    /// How often the daemon asks the cloud for the attach's job, in milliseconds (its own default is 2000).
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(20..))]
    poll_interval_ms: u32,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and measures as root.
pub(crate) fn attach(args: &AttachArgs) -> Result<ExitCode> {
    if !args.built {
        root::ensure_reachable()?;
        console::step("build");
        build_programs()?;
    }
    if !root::is_root() {
        return through_sudo(args);
    }
    let run = Run::start()?;
    let programs = workspace::target_dir()?.join("release");
    let (report, told) = measure(&run, args, &programs)?;
    if run::report_leaks(&run.leaks()?) {
        bail!("the bench left something behind; it has been removed now");
    }
    console::say(told.trim_end());
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the daemon and the benches, as they are shipped.
pub(super) fn build_programs() -> Result<()> {
    let build = [
        "build",
        "--release",
        "--package",
        "volumed",
        "--package",
        "whole-system-tests",
        "--bins",
    ];
    check(workspace::cargo().args(build))
}

fn through_sudo(args: &AttachArgs) -> Result<ExitCode> {
    let mut again = root::ourselves_as_root();
    again.args(["bench", "attach", "--built"]).args(plan(args));
    if let Some(file) = &args.json {
        again.arg("--json").arg(file);
    }
    Ok(if status(&mut again)?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The report, and what the bench says to people; its last line is the ratio.
fn measure(run: &Run, args: &AttachArgs, programs: &Path) -> Result<(Value, String)> {
    let (machine, version) = (machine::describe(), machine::version(programs.join("volumed")));
    console::step(&machine);
    console::say(&version);
    let result = run.dir().join("attach.json");
    let mut bench = run.command(programs.join("bench-attach"));
    let told = output(bench.args(plan(args)).arg("--json").arg(&result))?;
    let text = fs::read_to_string(&result).context("the bench wrote no result")?;
    let measured: Value = serde_json::from_str(&text).context("cannot read the bench's result")?;
    let report = json!({"machine": machine, "versions": [version], "attach": measured});
    Ok((report, told))
}

fn plan(args: &AttachArgs) -> [String; 4] {
    [
        "--cycles".to_owned(),
        args.cycles.to_string(),
        "--poll-interval-ms".to_owned(),
        args.poll_interval_ms.to_string(),
    ]
}
