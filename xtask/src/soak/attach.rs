//! `cargo xtask soak attach`: attach, check, write and detach, on a cloud that misbehaves and with a daemon that is killed.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::{check, status, tee};
use crate::run::{self, Run};
use crate::{console, root, workspace};

#[derive(Args)]
pub(crate) struct AttachArgs {
    /// What chance begins with; the same seed has the same plan and the same faults, but not the same order of things.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many attaches, all lanes together.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    cycles: u64,
    /// How many callers at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    lanes: u32,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and soaks as root; a failure where anything was wrong, lost or left behind.
pub(crate) fn attach(args: &AttachArgs) -> Result<ExitCode> {
    if !args.built {
        root::ensure_reachable()?;
        console::step("build");
        let build = [
            "build",
            "--package",
            "volumed",
            "--package",
            "whole-system-tests",
            "--bins",
        ];
        check(workspace::cargo().args(build))?;
    }
    let passed = if root::is_root() {
        soak(args)?
    } else {
        console::say("not root: the rest runs through sudo");
        let mut again = root::ourselves_as_root();
        again.args(["soak", "attach", "--built"]).args(plan(args));
        status(&mut again)?.success()
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn soak(args: &AttachArgs) -> Result<bool> {
    let run = Run::start()?;
    let program = workspace::target_dir()?.join("debug/attach-soak");
    console::step(&format!(
        "{} cycles in {} lanes, seed {}",
        args.cycles, args.lanes, args.seed
    ));
    let (status, said) = tee(run.command(program).args(plan(args)))?;
    if run::report_leaks(&run.leaks()?) {
        bail!("the soak left something behind; it has been removed now");
    }
    // The figures are the last line of output, whatever else had to be said.
    if let Some(figures) = said.lines().last() {
        console::say(figures);
    }
    Ok(status.success())
}

fn plan(args: &AttachArgs) -> Vec<String> {
    let options = [
        ("--seed", args.seed),
        ("--cycles", args.cycles),
        ("--lanes", u64::from(args.lanes)),
    ];
    let words = options.map(|(name, value)| [name.to_owned(), value.to_string()]);
    words.into_iter().flatten().collect()
}
