//! `bench-attach`: the attach bench, started by `cargo xtask bench attach`; its last line is the ratio.

#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use whole_system_tests::attach_bench::{Plan, run};

#[derive(Parser)]
struct Options {
    /// How many attaches are measured.
    #[arg(long, default_value_t = 300)]
    cycles: u32,
    /// How often the daemon asks the cloud for the attach's job.
    #[arg(long, default_value_t = 20)]
    poll_interval_ms: u64,
    /// What the poller's phases begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write the result here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan {
        cycles: options.cycles,
        poll_interval: Duration::from_millis(options.poll_interval_ms),
        seed: options.seed,
    };
    let Some(measured) = run(&plan).await? else {
        return Ok(ExitCode::FAILURE);
    };
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&measured)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{measured}");
    Ok(ExitCode::SUCCESS)
}
