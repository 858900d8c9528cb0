//! Power cuts by command: so many cuts, then the figures; for `cargo xtask soak power`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use whole_system_tests::power_cuts::{Plan, cut};

#[derive(Parser)]
struct Options {
    /// How many cuts.
    #[arg(long, default_value_t = 3)]
    cuts: u64,
    /// With what chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a machine is cut before another one is made.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    per_machine: u64,
    /// What SQLite's `synchronous` is set to instead of FULL, to show that acknowledgements can be lost: 1 OFF, 2 NORMAL.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    sabotage: u8,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan {
        cuts: options.cuts,
        seed: options.seed,
        per_machine: options.per_machine,
        sabotage: match options.sabotage {
            0 => None,
            1 => Some("OFF"),
            _ => Some("NORMAL"),
        },
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = |figures: &_| println!("{:.0} s: {figures}", began.elapsed().as_secs_f64());
    let Some(figures) = runtime.block_on(cut(&plan, progress)) else {
        bail!("no virtual machine can boot here; `cargo xtask install-deps` says more");
    };
    for what in figures.lost.iter().chain(&figures.wrong).take(20) {
        println!("{what}");
    }
    println!(
        "{figures}; seed {}, {:.0} s",
        plan.seed,
        began.elapsed().as_secs_f64()
    );
    let is_clean = figures.lost.is_empty() && figures.wrong.is_empty() && figures.acknowledged > 0;
    Ok(if is_clean && figures.cuts >= plan.cuts {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
