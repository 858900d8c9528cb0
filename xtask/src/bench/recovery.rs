//! `cargo xtask bench recovery`: a daemon with many volumes is killed with many operations in flight, and starts again.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::machine;
use crate::command::{status, tee};
use crate::run::{self, Run};
use crate::{console, root, workspace};

#[derive(Args)]
pub(crate) struct RecoveryArgs {
    /// How many volumes, one measurement each.
    #[arg(long, default_value = "100,1000,10000")]
    volumes: String,
    /// How many operations are in flight when the daemon is killed.
    #[arg(long, default_value_t = 500)]
    in_flight: u32,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and measures as root.
pub(crate) fn recovery(args: &RecoveryArgs) -> Result<ExitCode> {
    if !args.built {
        root::ensure_reachable()?;
        console::step("build");
        super::attach::build_programs()?;
    }
    let plan = [
        "--volumes",
        &args.volumes,
        "--in-flight",
        &args.in_flight.to_string(),
    ]
    .map(str::to_owned);
    if !root::is_root() {
        let mut again = root::ourselves_as_root();
        again.args(["bench", "recovery", "--built"]).args(plan);
        let passed = status(&mut again)?.success();
        return Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let run = Run::start()?;
    console::step(&machine::describe());
    let program = workspace::target_dir()?.join("release/bench-recovery");
    let (status, _) = tee(run.command(program).args(plan))?;
    if run::report_leaks(&run.leaks()?) {
        bail!("the bench left something behind; it has been removed now");
    }
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
