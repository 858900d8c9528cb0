//! `cargo xtask soak power`: power cuts of the virtual appliance under load, as often as asked.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Profile, Soak, soak};

#[derive(Args)]
pub(crate) struct PowerArgs {
    /// What chance begins with. Orders and numbers of what happens in the guest differ all the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cuts; each one takes a boot and a recovery.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    cuts: u64,
    /// How many cuts a machine goes through before another one is made.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    per_machine: u64,
    /// 1: with SQLite's `synchronous` off, 2: with it at NORMAL. Must fail: it shows that acknowledgements can be lost.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=2))]
    sabotage: u64,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and cuts as root; a failure where anything was lost, wrong or left behind.
pub(crate) fn power(args: &PowerArgs) -> Result<ExitCode> {
    let plan = [
        ("--seed", args.seed),
        ("--cuts", args.cuts),
        ("--per-machine", args.per_machine),
        ("--sabotage", args.sabotage),
    ];
    soak(&Soak {
        name: "power",
        program: "power-cuts",
        what: format!("{} power cuts under load, seed {}", args.cuts, args.seed),
        plan: plan.to_vec(),
        built: args.built,
        profile: Profile::Release,
    })
}
