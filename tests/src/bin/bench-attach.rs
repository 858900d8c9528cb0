//! `bench-attach`: the attach bench, started by `cargo xtask bench attach`; its last line is the ratio.

#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use whole_system_tests::attach_bench::{Plan, run};

const USAGE: &str =
    "usage: bench-attach [--cycles NUMBER] [--poll-interval-ms NUMBER] [--seed NUMBER] [--json FILE]";

struct Arguments {
    plan: Plan,
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments(std::env::args().skip(1)).context(USAGE)?;
    let Some(measured) = run(&arguments.plan).await? else {
        return Ok(ExitCode::FAILURE);
    };
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&measured)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{measured}");
    Ok(ExitCode::SUCCESS)
}

fn arguments(mut args: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let mut plan = Plan {
        cycles: 300,
        poll_interval: Duration::from_millis(20),
        seed: 1,
    };
    let mut json = None;
    while let Some(option) = args.next() {
        let value = args.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--cycles" => plan.cycles = value.parse()?,
            "--poll-interval-ms" => plan.poll_interval = Duration::from_millis(value.parse()?),
            "--seed" => plan.seed = value.parse()?,
            "--json" => json = Some(value.into()),
            _ => bail!("there is no option {option}"),
        }
    }
    Ok(Arguments { plan, json })
}
