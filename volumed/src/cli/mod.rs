//! The command line: what to do, and with which keys of the configuration.

mod database;
mod log;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::api::openapi;
use crate::app;
use crate::config::{Config, ConfigError};

/// How long work on other threads may go on once everything else has ended.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// The volume daemon: owns every call to the cloud about volumes and knows which kernel device is which volume.
#[derive(Debug, Parser)]
#[command(name = "volumed", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(Flags),
    /// Report everything that is wrong with the configuration
    CheckConfig(Flags),
    /// Examine what a daemon would need: cloud, devices, machine, configuration; whether one runs or not
    ///
    /// Changes nothing. The exit status is 0 unless something will not work.
    Doctor(DoctorFlags),
    /// Examine a database: by itself, and each volume against cloud and kernel; whether a daemon runs or not
    ///
    /// Changes nothing. The exit status is 0 where nothing was found, 1 with findings, 2 where something could not be looked at.
    Fsck(FsckFlags),
    /// Copy the database into a file, whether a daemon runs or not
    Backup(database::BackupFlags),
    /// Put a copy in the database's place, while no daemon runs; the former one is kept
    Restore(database::RestoreFlags),
    /// Print the OpenAPI description
    Openapi,
}

#[derive(Debug, Args)]
struct FsckFlags {
    #[command(flatten)]
    config: Flags,
}

#[derive(Debug, Args)]
struct DoctorFlags {
    #[command(flatten)]
    config: Flags,
    /// Print the report as JSON, as the API has it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Flags {
    /// The configuration [default: /etc/volumed/volumed.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "VOLUMED_CONFIG")]
    config: Option<PathBuf>,
    /// The database
    #[arg(long, value_name = "PATH")]
    database: Option<String>,
    /// The Unix socket to serve on; empty for none
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// The TCP address to serve on; other than loopback only with TLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Who keeps the volumes: local, cloudstack
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The directory that holds the volumes' files
    #[arg(long, value_name = "DIR")]
    local_root: Option<String>,
    /// The id of the VM that the daemon runs in
    #[arg(long, value_name = "ID")]
    vm_id: Option<String>,
    /// How log lines look: text, json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The least important log lines: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Flags {
    fn load(self) -> Result<Config, ConfigError> {
        let flags = [
            ("database", self.database),
            ("socket", self.socket),
            ("listen", self.listen),
            ("provider", self.provider),
            ("local.root", self.local_root),
            ("local.vm_id", self.vm_id),
            ("log.format", self.log_format),
            ("log.level", self.log_level),
        ];
        let given = flags.into_iter().filter_map(|(key, value)| Some((key, value?)));
        Config::load(self.config.as_deref(), given.collect())
    }
}

/// The definition of the command line: manual pages and completions are made from it.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Err(error) = telemetry::keep_memory_private() {
        let _ = writeln!(io::stderr(), "volumed: {:#}", anyhow::Error::from(error));
        return ExitCode::FAILURE;
    }
    serving::descriptors::raise_limit();
    let result = match command {
        Command::Serve(flags) => serve(flags).map(|()| ExitCode::SUCCESS),
        Command::CheckConfig(flags) => check(flags).map(|()| ExitCode::SUCCESS),
        Command::Doctor(flags) => doctor(flags),
        Command::Fsck(flags) => fsck(flags),
        Command::Backup(flags) => flags.back_up().map(|()| ExitCode::SUCCESS),
        Command::Restore(flags) => flags.restore().map(|()| ExitCode::SUCCESS),
        Command::Openapi => print_openapi().map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "volumed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: Flags) -> anyhow::Result<()> {
    let config = flags.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let sending = runtime.block_on(async { log::start(config.log) });
    let result = runtime.block_on(app::run(config));
    drop(sending);
    runtime.shutdown_timeout(LAST_GRACE);
    Ok(result?)
}

fn check(flags: Flags) -> anyhow::Result<()> {
    flags.load()?;
    writeln!(io::stdout(), "the configuration is good")?;
    Ok(())
}

fn doctor(flags: DoctorFlags) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(app::examine(flags.config.load()));
    runtime.shutdown_timeout(LAST_GRACE);
    let text = match flags.json {
        true => serde_json::to_string_pretty(&report)?,
        false => report.to_string(),
    };
    writeln!(io::stdout(), "{text}")?;
    Ok(match report.has_failures() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn fsck(flags: FsckFlags) -> anyhow::Result<ExitCode> {
    const COULD_NOT_LOOK: u8 = 2;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = match flags.config.load() {
        Ok(config) => runtime.block_on(app::fsck(config)),
        Err(error) => {
            writeln!(io::stderr(), "volumed: {error:#}")?;
            return Ok(ExitCode::from(COULD_NOT_LOOK));
        }
    };
    runtime.shutdown_timeout(LAST_GRACE);
    write!(io::stdout(), "{report}")?;
    Ok(match (report.unseen.is_empty(), report.findings.is_empty()) {
        (false, _) => ExitCode::from(COULD_NOT_LOOK),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

fn print_openapi() -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&openapi::document())?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_keys_of_the_configuration() {
        let line = "volumed serve --config /dev/null --database /d --socket /s --listen 127.0.0.1:0 --provider local \
                    --local-root /r --vm-id vm --log-format json --log-level debug";
        let Command::Serve(flags) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("serve is not parsed as serve");
        };
        let config = flags.load().unwrap();
        assert_eq!(config.local.vm_id, "vm");
        assert_eq!(config.listen, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(config.log.format, crate::config::LogFormat::Json);
    }
}
