//! `bench-recovery`: the recovery bench, started by `cargo xtask bench recovery`.
#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use whole_system_tests::recovery_bench::{Measured, Plan, run};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let plan = plan(std::env::args().skip(1))?;
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

fn plan(mut args: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        volumes: vec![100, 1000, 10_000],
        in_flight: 500,
    };
    while let Some(option) = args.next() {
        let value = args.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--volumes" => plan.volumes = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--in-flight" => plan.in_flight = value.parse()?,
            _ => bail!("{option}? there are --volumes and --in-flight"),
        }
    }
    Ok(plan)
}
