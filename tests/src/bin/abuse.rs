//! `abuse`: schemathesis against daemon and service, started by `cargo xtask soak abuse`; its last line is the figures.

#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use whole_system_tests::abuse::{Bound, Plan, run};

#[derive(Parser)]
struct Options {
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long in all.
    #[arg(long, default_value_t = 15)]
    minutes: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let plan = Plan {
        seed: options.seed,
        bound: Bound::Time(Duration::from_secs(options.minutes * 60)),
    };
    let Some(report) = run(&plan).await else {
        return ExitCode::FAILURE;
    };
    for violation in &report.violations {
        println!("VIOLATION: {violation}");
    }
    println!("{report}");
    match report.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
