//! The crash matrix by command: every point of every operation is struck, as often as asked; for `cargo xtask soak crash`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use whole_system_tests::crash_matrix::{Plan, run};

fn main() -> Result<ExitCode> {
    let plan = plan()?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = |figures: &_| println!("{:.0} s: {figures}", began.elapsed().as_secs_f64());
    let Some(figures) = runtime.block_on(run(&plan, progress)) else {
        bail!("this needs root: it makes loop devices");
    };
    for violation in &figures.violations {
        println!("VIOLATION: {violation}");
    }
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

fn plan() -> Result<Plan> {
    let (mut plan, mut words) = (Plan::default(), std::env::args().skip(1));
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .with_context(|| format!("{option} {value} is no number"))
        };
        match option.as_str() {
            "--seed" => plan.seed = number()?,
            "--minutes" => {
                plan.at_most = Some(Duration::from_secs(60 * number()?)).filter(|limit| !limit.is_zero())
            }
            "--only" => plan.only = Some(value),
            other => bail!("{other}? there are --seed, --minutes and --only"),
        }
    }
    Ok(plan)
}
