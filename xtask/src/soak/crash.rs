//! `cargo xtask soak`: the daemon is killed at every point that an operation passes, and its database fails at every change.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Profile, Soak, soak};

#[derive(Args)]
pub(crate) struct CrashArgs {
    /// In which order the points are gone through.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long, over and over; 0: every point once, however long that takes.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and strikes as root; a failure where anything was wrong, lost or left behind.
pub(crate) fn crash(args: &CrashArgs) -> Result<ExitCode> {
    let plan = [("--seed", args.seed), ("--minutes", args.minutes)];
    let what = match args.minutes {
        0 => format!("every point of every operation, seed {}", args.seed),
        minutes => format!("points of operations for {minutes} minutes, seed {}", args.seed),
    };
    soak(&Soak {
        name: "crash",
        program: "crash-matrix",
        what,
        plan: plan.to_vec(),
        built: args.built,
        profile: Profile::Debug,
    })
}
