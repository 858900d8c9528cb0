//! The crash matrix by command: every point of every operation is struck, as often as asked; for `cargo xtask soak crash`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use whole_system_tests::crash_matrix::{Plan, run};

#[derive(Parser)]
struct Options {
    /// In which order the points are gone through.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// For how long, over and over; 0: every point once.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Only points whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan {
        seed: options.seed,
        at_most: (options.minutes > 0).then(|| Duration::from_secs(60 * options.minutes)),
        only: options.only,
    };
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = |figures: &_| println!("{:.0} s: {figures}", began.elapsed().as_secs_f64());
    let Some(figures) = runtime.block_on(run(&plan, progress)) else {
        bail!("this needs root: it makes loop devices");
    };
    for violation in &figures.violations {
        println!("VIOLATION: {violation}");
    }
    println!("{}", figures.table());
    println!(
        "crash matrix: {figures}; seed {}, {:.0} s",
        plan.seed,
        began.elapsed().as_secs_f64()
    );
    let is_clean = figures.violations.is_empty() && figures.kills > 0;
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
