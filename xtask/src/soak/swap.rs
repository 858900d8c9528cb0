//! `cargo xtask soak swap`: the wrong-disk attack in the virtual appliance, as often as asked.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Profile, Soak, soak};

#[derive(Args)]
pub(crate) struct SwapArgs {
    /// What chance begins with. Orders and numbers of what happens in the guest differ all the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many swaps; 10,000 take hours.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    swaps: u64,
    /// How many swaps a machine goes through before another one is booted.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..))]
    per_machine: u64,
    /// How many in a hundred machines have their disks on virtio-scsi; the others on virtio-blk.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=100))]
    scsi_share: u64,
    /// 1: a SCSI disk's address is given to the next one before the guest has noticed that it is free. Nothing in a guest can
    /// then keep an open descriptor from leading to the other disk; shows how often it does.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1))]
    hasty: u64,
    /// The programs are built already.
    #[arg(long, hide = true)]
    built: bool,
}

/// Builds as whoever calls, and attacks as root; a failure where anything was wrong or left behind.
pub(crate) fn swap(args: &SwapArgs) -> Result<ExitCode> {
    let plan = [
        ("--seed", args.seed),
        ("--swaps", args.swaps),
        ("--per-machine", args.per_machine),
        ("--scsi-share", args.scsi_share),
        ("--hasty", args.hasty),
    ];
    soak(&Soak {
        name: "swap",
        program: "swap-attack",
        what: format!(
            "{} swaps, {} on each machine, seed {}",
            args.swaps, args.per_machine, args.seed
        ),
        plan: plan.to_vec(),
        built: args.built,
        profile: Profile::Release,
    })
}
