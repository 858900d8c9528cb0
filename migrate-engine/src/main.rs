//! The migration engine's program.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use migrate_engine::app::Ending;
use migrate_engine::cli::Cli;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("MIGRATE_ENGINE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match Cli::parse().run().await {
        Ok(Ending::Completed) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Ok(Ending::Cancelled) => ExitCode::from(130),
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "the program's last word")]
fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    error
        .chain()
        .skip(1)
        .for_each(|cause| eprintln!("cause: {cause}"));
}
