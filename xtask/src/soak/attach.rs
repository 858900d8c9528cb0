//! `cargo xtask soak attach`: attach, check, write and detach, on a cloud that misbehaves and with a daemon that is killed.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Profile, Soak, soak};

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
    let plan = [
        ("--seed", args.seed),
        ("--cycles", args.cycles),
        ("--lanes", u64::from(args.lanes)),
    ];
    soak(&Soak {
        name: "attach",
        program: "attach-soak",
        what: format!(
            "{} cycles in {} lanes, seed {}",
            args.cycles, args.lanes, args.seed
        ),
        plan: plan.to_vec(),
        built: args.built,
        profile: Profile::Debug,
    })
}
