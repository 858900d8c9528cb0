//! `attach-soak`: the attach soak, started by hand or by `cargo xtask soak attach`; its last line is the figures.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people start to see what it says"
)]

use std::process::ExitCode;

use anyhow::{Context, bail};
use whole_system_tests::attach_soak::{Plan, Report, run};

const USAGE: &str =
    "usage: attach-soak [--seed NUMBER] [--cycles NUMBER] [--lanes NUMBER] [--cycles-between-kills NUMBER]";

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("attach-soak: {error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
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

fn plan(mut args: impl Iterator<Item = String>) -> anyhow::Result<Plan> {
    let mut plan = Plan {
        seed: 1,
        cycles: 1000,
        lanes: 4,
        cycles_between_kills: 50,
    };
    while let Some(option) = args.next() {
        let value = args.next().with_context(|| format!("{option} needs a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{value} is no number"))?;
        match option.as_str() {
            "--seed" => plan.seed = number,
            "--cycles" => plan.cycles = number,
            "--lanes" => plan.lanes = u32::try_from(number)?.max(1),
            "--cycles-between-kills" => plan.cycles_between_kills = number.max(1),
            _ => bail!("there is no option {option}"),
        }
    }
    Ok(plan)
}
