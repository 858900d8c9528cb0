//! Power cuts by command: so many cuts, then the figures; for `cargo xtask soak power`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use whole_system_tests::power_cuts::{Plan, cut};

fn main() -> Result<ExitCode> {
    let plan = plan()?;
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

fn plan() -> Result<Plan> {
    let (mut plan, mut words) = (Plan::default(), std::env::args().skip(1));
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a number"))?;
        let value: u64 = value
            .parse()
            .with_context(|| format!("{option} {value} is no number"))?;
        match option.as_str() {
            "--cuts" => plan.cuts = value,
            "--seed" => plan.seed = value,
            "--per-machine" => plan.per_machine = value.max(1),
            "--sabotage" => {
                plan.sabotage = [None, Some("OFF"), Some("NORMAL")]
                    .get(usize::try_from(value)?)
                    .copied()
                    .flatten()
            }
            other => bail!("{other}? there are --cuts, --seed, --per-machine and --sabotage"),
        }
    }
    Ok(plan)
}
