//! `attach-soak`: the attach soak, started by hand or by `cargo xtask soak attach`; its last line is the figures.

#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::process::ExitCode;

use clap::Parser;
use whole_system_tests::attach_soak::{Plan, Report, run};

#[derive(Parser)]
struct Options {
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many attaches, all lanes together.
    #[arg(long, default_value_t = 1000)]
    cycles: u64,
    /// How many callers at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    lanes: u32,
    /// How many cycles go by between two deaths of the daemon, on average.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    cycles_between_kills: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let plan = Plan {
        seed: options.seed,
        cycles: options.cycles,
        lanes: options.lanes,
        cycles_between_kills: options.cycles_between_kills,
    };
    match run(&plan).await {
        Some(report) => tell(&report),
        None => ExitCode::FAILURE,
    }
}

fn tell(report: &Report) -> ExitCode {
    for violation in &report.violations {
        println!("VIOLATION: {violation}");
    }
    println!("{report}");
    if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
