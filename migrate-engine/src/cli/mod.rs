//! The command line of the engine.

mod access;
mod bench;
mod copy;
mod daemon;
mod discover;
mod export;
mod serve;
mod server;

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
    /// Copy an NBD export to a device and say how long it took: for `cargo xtask bench copy`.
    #[command(hide = true)]
    BenchCopy(bench::Arguments),
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
            Command::BenchCopy(arguments) => arguments.run().await,
        }
    }
}
