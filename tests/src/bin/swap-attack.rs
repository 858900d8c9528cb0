//! The wrong-disk attack by command: so many swaps, then the figures; for `cargo xtask soak swap`.
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use whole_system_tests::swap_attack::{Attack, attack};

fn main() -> Result<ExitCode> {
    let plan = plan()?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = |figures: &_| println!("{:.0} s: {figures}", began.elapsed().as_secs_f64());
    let Some(figures) = runtime.block_on(attack(plan, progress)) else {
        bail!("no virtual machine can boot here; `cargo xtask install-deps` says more");
    };
    println!("{}", serde_json::to_string(&figures)?);
    println!(
        "swap attack: {} wrong of {figures}; seed {}, {:.0} s",
        figures.wrong(),
        plan.seed,
        began.elapsed().as_secs_f64()
    );
    let is_clean = figures.wrong() + figures.violations == 0;
    Ok(if is_clean && figures.swaps >= plan.swaps {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn plan() -> Result<Attack> {
    let (mut plan, mut words) = (Attack::default(), std::env::args().skip(1));
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} needs a number"))?;
        let value: u64 = value
            .parse()
            .with_context(|| format!("{option} {value} is no number"))?;
        match option.as_str() {
            "--swaps" => plan.swaps = value,
            "--seed" => plan.seed = value,
            "--per-machine" => plan.per_machine = value.max(1),
            "--scsi-share" => plan.scsi_share = value,
            "--hasty" => plan.hasty = value != 0,
            other => bail!("{other}? there are --swaps, --seed, --per-machine, --scsi-share and --hasty"),
        }
    }
    Ok(plan)
}
