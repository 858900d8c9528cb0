//! `volumectl`: what a person or a script can ask of the daemon. Arguments in, tables or the API's own JSON out.

mod args;
mod audit;
mod backup;
mod bundle;
mod confirm;
mod doctor;
mod explain;
mod failure;
mod generate;
mod help;
mod look;
mod measure;
mod operations;
mod orphans;
mod output;
mod select;
mod snapshots;
mod table;
mod tokens;
mod volumes;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::args::{Args, Command, Global, LeasesVerb};
use self::failure::Failure;
use self::output::Output;
use crate::client::VolumedClient;

/// One run of the program: whom it talks to, and how it shows what it hears.
struct Session {
    client: VolumedClient,
    out: Output,
    timeout: Duration,
}

/// The definition of the command line: manual pages and completions are made from it.
#[must_use]
pub fn command() -> clap::Command {
    <Args as clap::CommandFactory>::command()
}

/// The whole program. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 outcome unknown, 5 not ready.
#[must_use]
pub fn main() -> ExitCode {
    // Wrong usage ends here, with code 2.
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let Args { global, command } = args;
    match command {
        Command::Completions { shell } => return generate::completions(shell),
        Command::Man { out } => return generate::man(out.as_deref()),
        _ => {}
    }
    let session = Session {
        client: connect(&global)?,
        out: Output::new(global.format()),
        timeout: global.timeout,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(session.dispatch(command))
}

fn connect(global: &Global) -> Result<VolumedClient, Failure> {
    let builder = VolumedClient::builder();
    let mut builder = match (&global.socket, &global.url) {
        (Some(socket), _) => builder.unix(socket),
        (None, Some(url)) => builder.http(url),
        (None, None) => builder.from_env(),
    };
    if let Some(path) = &global.token_file {
        builder = builder.token_file(path);
    }
    if let Some(path) = &global.ca_file {
        builder = builder.ca_file(path);
    }
    if let Some(text) = &global.fingerprint {
        builder = builder.fingerprint(text);
    }
    if let (Some(certificate), Some(key)) = (&global.certificate, &global.key) {
        builder = builder.certificate(certificate, key);
    }
    let client = builder
        .request_timeout(global.timeout.min(Duration::from_secs(30)))
        .build();
    let client = client.map_err(|e| Failure::Usage {
        error: e.to_string(),
        hint: e.hint(),
    })?;
    Ok(match &global.idempotency_key {
        Some(key) => client.with_idempotency_key(key.clone()),
        None => client,
    })
}

impl Session {
    async fn dispatch(&self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Volumes { verb } => self.volumes(verb).await,
            Command::Attach { volume, vm, wait } => self.attach(&volume, vm, wait).await,
            Command::Detach { volume, wait } => self.detach(&volume, wait).await,
            Command::Device { volume } => self.device(&volume).await,
            Command::Correlate { volume, wait } => self.correlate(&volume, wait).await,
            Command::Snapshots { verb } => self.snapshots(verb).await,
            Command::Operations { verb } => self.operations(verb).await,
            Command::Devices { .. } => self.devices().await,
            Command::Mappings { .. } => self.mappings().await,
            Command::Findings { .. } => self.findings().await,
            Command::Orphans { verb } => self.orphans(verb).await,
            Command::Reconcile { dry_run } => self.reconcile(dry_run).await,
            Command::Explain { volume } => self.explain(&volume).await,
            Command::Audit { volume, last } => self.audit(volume, last).await,
            Command::Leases { verb: None } => self.leases().await,
            Command::Leases { verb: Some(verb) } => match verb {
                LeasesVerb::List => self.leases().await,
                LeasesVerb::Release { lease, yes } => self.release(lease, yes.consent()).await,
            },
            Command::Tokens { verb } => self.tokens(verb).await,
            Command::Events { after } => self.events(after).await,
            Command::Status => self.status().await,
            Command::Backup { file, force } => self.back_up(&file, force).await,
            Command::Doctor => self.doctor().await,
            Command::SupportBundle(wanted) => self.support_bundle(&wanted).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(()), // done before a daemon was needed
        }
    }
}
