//! The command line of the engine.

mod access;
mod bench;
mod copy;
mod daemon;
mod discover;
mod export;
mod form;
mod jobs;
mod serve;
mod server;
mod service;
mod sources;
mod start;
mod steps;
#[cfg(test)]
mod tests;
mod worker;

use clap::{Parser, Subcommand};

use crate::app::Ending;

/// Moves virtual machines' disks into volumes.
#[derive(Debug, Parser)]
#[command(name = "migrate-engine", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the disks of an image, an OVA or OVF package, or an NBD export into volumes.
    Copy(Box<copy::Arguments>),
    Export(Box<export::Arguments>),
    Discover(Box<discover::Arguments>),
    Serve(Box<serve::Arguments>),
    Worker(Box<worker::Arguments>),
    Sources(sources::Arguments),
    Start(Box<start::Arguments>),
    Jobs(jobs::JobsArguments),
    Job(jobs::JobArguments),
    Watch(jobs::WatchArguments),
    Cancel(jobs::CancelArguments),
    Retry(jobs::RetryArguments),
    CutoverReady(jobs::CutoverReadyArguments),
    Steps(Box<steps::Arguments>),
    /// Copy an NBD export to a device and say how long it took: for `cargo xtask bench copy`.
    #[command(hide = true)]
    BenchCopy(bench::Arguments),
}

/// The definition of the command line: manual pages and completions are made from it.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What could not even be begun.
    pub async fn run(self) -> anyhow::Result<Ending> {
        match self.command {
            Command::Copy(arguments) => arguments.run().await,
            Command::Export(arguments) => arguments.run().await,
            Command::Discover(arguments) => arguments.run().await,
            Command::Serve(arguments) => arguments.run().await,
            Command::Worker(arguments) => arguments.run().await,
            Command::Sources(arguments) => arguments.run().await,
            Command::Start(arguments) => arguments.run().await,
            Command::Jobs(arguments) => arguments.run().await,
            Command::Job(arguments) => arguments.run().await,
            Command::Watch(arguments) => arguments.run().await,
            Command::Cancel(arguments) => arguments.run().await,
            Command::Retry(arguments) => arguments.run().await,
            Command::CutoverReady(arguments) => arguments.run().await,
            Command::Steps(arguments) => arguments.run().await,
            Command::BenchCopy(arguments) => arguments.run().await,
        }
    }
}
