//! `bench-recovery`: the recovery bench, started by `cargo xtask bench recovery`.
#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use whole_system_tests::recovery_bench::{Measured, Plan, run};

#[derive(Parser)]
struct Options {
    /// How many volumes, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    volumes: Vec<u32>,
    /// How many operations are in flight when the daemon is killed.
    #[arg(long, default_value_t = 500)]
    in_flight: u32,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan {
        volumes: options.volumes,
        in_flight: options.in_flight,
    };
    println!(
        "volumes  in flight  start ms  recovery ms  all ended ms  idle MiB  peak MiB  reconciler's pass ms (passes)"
    );
    let Some(_) = run(&plan, |one| println!("{}", row(one))).await? else {
        bail!("this needs root");
    };
    Ok(ExitCode::SUCCESS)
}

fn row(one: &Measured) -> String {
    format!(
        "{:7}  {:9}  {:8.0}  {:11.0}  {:12.0}  {:8.1}  {:8.1}  {:.1} ({})",
        one.volumes,
        one.in_flight,
        one.start_ms,
        one.recovery_ms,
        one.drained_ms,
        one.idle_mib,
        one.peak_mib,
        one.pass_ms,
        one.passes
    )
}
