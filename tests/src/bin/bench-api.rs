//! `bench-api`: the load bench, started by `cargo xtask bench api`.
#![allow(
    clippy::print_stdout,
    reason = "a program that people start to see what it says"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use whole_system_tests::load_bench::{Plan, run};

#[derive(Parser)]
struct Options {
    /// How many volumes there are, one daemon each.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    volumes: Vec<u32>,
    /// How many of them are attached, at most.
    #[arg(long, default_value_t = 64)]
    attached: u32,
    /// How many event streams are open at each daemon, and as many long-polls.
    #[arg(long, default_value_t = 1000)]
    streams: u32,
    /// How many operations wait at each daemon.
    #[arg(long, default_value_t = 500)]
    queued: u32,
    /// How many rounds each condition has.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// How many events are told while nobody reads.
    #[arg(long, default_value_t = 2000)]
    unread: u32,
    /// The daemon, instead of the one beside this program.
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    /// Also write every answer here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan {
        volumes: options.volumes,
        attached: options.attached,
        streams: options.streams,
        queued: options.queued,
        rounds: options.rounds,
        unread: options.unread,
        daemon: options.daemon,
    };
    let Some(measured) = run(&plan, |step| println!("{step}")).await? else {
        bail!("this needs root");
    };
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string(&measured)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{measured}");
    Ok(ExitCode::SUCCESS)
}
