//! The migration engine's program.

use std::process::ExitCode;

use clap::Parser as _;
use migrate_engine::app::Ending;
use migrate_engine::cli::Cli;
use telemetry::log::LogFormat;
use telemetry::trace::Traces;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Its NBD servers open its descriptors through /proc, so only its memory is kept to itself.
    if let Err(error) = telemetry::forbid_core_dumps() {
        print_error(&error.into());
        return ExitCode::FAILURE;
    }
    let filter = EnvFilter::try_from_env("MIGRATE_ENGINE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let format = match std::env::var("MIGRATE_ENGINE_LOG_FORMAT").as_deref() {
        Ok("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let sending = telemetry::log::start(format, filter, &Traces::from_env("migrate-engine"));
    serving::descriptors::raise_limit();
    let ended = cli.run().await;
    drop(sending);
    match ended {
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
