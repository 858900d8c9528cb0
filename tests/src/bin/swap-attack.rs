//! The wrong-disk attack by command: so many swaps, then the figures; for `cargo xtask soak swap`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use whole_system_tests::swap_attack::{Attack, attack};

#[derive(Parser)]
struct Options {
    /// How many swaps.
    #[arg(long, default_value_t = 200)]
    swaps: u64,
    /// With what chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many swaps a machine goes through before it is replaced.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    per_machine: u64,
    /// How many in a hundred machines have their disks on virtio-scsi.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=100))]
    scsi_share: u64,
    /// 1: a SCSI disk's address may be given away before the guest has noticed that it is free.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1))]
    hasty: u64,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Attack {
        swaps: options.swaps,
        seed: options.seed,
        per_machine: options.per_machine,
        scsi_share: options.scsi_share,
        hasty: options.hasty == 1,
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = |figures: &_| println!("{:.0} s: {figures}", began.elapsed().as_secs_f64());
    let Some(figures) = runtime.block_on(attack(plan, progress)) else {
        bail!("no virtual machine can boot here; `cargo xtask install-deps` says more");
    };
    println!("{}", serde_json::to_string(&figures)?);
    println!(
        "swap attack: {} wrong of {figures}; seed {}, {:.0} s",
        figures.wrong(),
        plan.seed,
        began.elapsed().as_secs_f64()
    );
    let is_clean = figures.wrong() + figures.violations == 0;
    Ok(if is_clean && figures.swaps >= plan.swaps {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
