//! `cargo xtask bench api`: many volumes, long-polls, event streams and queued operations, beside few.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::machine;
use crate::command::{status, tee};
use crate::run::{self, Run};
use crate::{console, root, workspace};

#[derive(Args)]
pub(crate) struct ApiArgs {
    /// Also write every answer here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many volumes there are, one daemon each.
    #[arg(long, default_value = "1,100,10000")]
    volumes: String,
    /// How many of them are attached to loop devices, at most.
    #[arg(long, default_value_t = 64)]
    attached: u32,
    /// How many event streams are open at each daemon, and as many long-polls.
    #[arg(long, default_value_t = 1000)]
    streams: u32,
    /// How many operations wait at each daemon.
    #[arg(long, default_value_t = 500)]
    queued: u32,
    /// How many rounds each condition has.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The daemon, instead of the one that is built here.
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and measures as root.
pub(crate) fn api(args: &ApiArgs) -> Result<ExitCode> {
    if !args.built {
        root::ensure_reachable()?;
        console::step("build");
        super::attach::build_programs()?;
    }
    if !root::is_root() {
        return through_sudo(args);
    }
    let run = Run::start()?;
    let measured = measure(&run, args);
    if run::report_leaks(&run.leaks()?) {
        bail!("the bench left something behind; it has been removed now");
    }
    let report = measured?;
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string(&report)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn through_sudo(args: &ApiArgs) -> Result<ExitCode> {
    let mut again = root::ourselves_as_root();
    again.args(["bench", "api", "--built"]).args(plan(args));
    if let Some(file) = &args.json {
        again.arg("--json").arg(file);
    }
    Ok(if status(&mut again)?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures while everybody can see it; the report.
fn measure(run: &Run, args: &ApiArgs) -> Result<Value> {
    let programs = workspace::target_dir()?.join("release");
    let daemon = args.daemon.clone().unwrap_or_else(|| programs.join("volumed"));
    let (machine, version) = (machine::describe(), machine::version(&daemon));
    console::step(&machine);
    console::say(&version);
    let result = run.dir().join("api.json");
    let mut bench = run.command(programs.join("bench-api"));
    let (status, _) = tee(bench.args(plan(args)).arg("--json").arg(&result))?;
    if !status.success() {
        bail!("the bench failed; what it says stands above");
    }
    Ok(json!({"machine": machine, "versions": [version], "api": read(&result)?}))
}

fn read(result: &Path) -> Result<Value> {
    let text = fs::read_to_string(result).context("the bench wrote no result")?;
    serde_json::from_str(&text).context("cannot read the bench's result")
}

fn plan(args: &ApiArgs) -> Vec<String> {
    let mut plan = vec!["--volumes".to_owned(), args.volumes.clone()];
    let numbers = [
        ("--attached", args.attached),
        ("--streams", args.streams),
        ("--queued", args.queued),
        ("--rounds", args.rounds),
    ];
    for (flag, number) in numbers {
        plan.extend([flag.to_owned(), number.to_string()]);
    }
    if let Some(daemon) = &args.daemon {
        plan.extend(["--daemon".to_owned(), daemon.display().to_string()]);
    }
    plan
}
