//! `migrate-engine serve`: what may be asked, and the settings that it means.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serving::CertificateFiles;

use super::daemon::Daemon;
use super::server::Server;
use crate::app::{self, Ending, Serving, SocketPlace};
use crate::config::{Afterwards, ReplicationSettings, Tracking, Verification};
use crate::model::{DigestKind, Route, Size};
use crate::pipeline::{Board, Replicator, clean_up_after};
use crate::schedule::Rate;
use crate::store::{Alone, Run, Store};
use crate::transfer::RateLimit;

/// Serve discovery and replications: find machines, copy their disks into volumes, keep them up to date.
///
/// Jobs and what is known of disks stand in the database: a service that was ended, or killed, goes on where it was.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    server: Server,
    /// Where replications are asked for; elsewhere than on the loopback over TLS.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// The Unix socket where replications are asked for without a token, by whoever may open it (owner and group); empty for
    /// none. Without it `migrate-engine.sock` in the --runtime-dir, where that can be had.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where discovery is asked for, on the loopback.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9081")]
    discovery_listen: SocketAddr,
    /// Where workers beside sources are heard, over TLS, such as 0.0.0.0:8443; without it, nowhere.
    #[arg(long, value_name = "ADDRESS:PORT")]
    worker_listen: Option<SocketAddr>,
    /// The certificate that is shown to workers and other callers from elsewhere, in PEM; read anew on SIGHUP. Where neither it nor
    /// its key is there, one is made.
    #[arg(long, value_name = "PATH", default_value = "/var/lib/migrate-engine/cert.pem")]
    certificate: PathBuf,
    /// The private key of that certificate.
    #[arg(long, value_name = "PATH", default_value = "/var/lib/migrate-engine/key.pem")]
    key: PathBuf,
    /// How long a worker may be silent before it counts as gone.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    worker_silence: u64,
    /// How long a worker that is away is waited for between two attempts at a job.
    #[arg(long, value_name = "SECONDS", default_value_t = 1200)]
    worker_patience: u64,
    /// The file that tells how sources are reached; read anew on SIGHUP.
    #[arg(long, value_name = "PATH", default_value = "/etc/migrate-engine/sources.toml")]
    sources: PathBuf,
    /// The file that tells what begins when by itself, and the bandwidth by time of day; followed while the service runs.
    /// Without it, nothing begins by itself.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/etc/migrate-engine/schedules.toml"
    )]
    schedules: PathBuf,
    /// The file of the token that callers bring along; made where it is not there.
    #[arg(long, value_name = "PATH", default_value = "/var/lib/migrate-engine/token")]
    token_file: PathBuf,
    /// How often a caller (a token, a user of this machine, an address) may ask for replications in a second, and twice as often after a
    /// pause; root on the Unix socket is not counted.
    #[arg(long, value_name = "N", default_value = "500")]
    requests_per_second: NonZeroU32,
    /// The engine's own records.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/migrate-engine/migrate-engine.db"
    )]
    database: PathBuf,
    /// The `ossea_config_id`s that callers may name.
    #[arg(long = "ossea-config-id", value_name = "N", default_values_t = [1])]
    ossea_config_ids: Vec<i64>,
    /// What is added to a disk's capacity for its volume.
    #[arg(long, value_name = "SIZE", default_value = "5GB")]
    buffer: Size,
    /// Write to the devices themselves, and not through their exports. Faster; the exports are published all the same.
    #[arg(long)]
    to_device: bool,
    /// Leave the volumes attached when a replication ends.
    #[arg(long)]
    keep_attached: bool,
    /// Do not read back what was written.
    #[arg(long)]
    no_verify: bool,
    /// Do not believe what a source says has changed: read every disk whole each time, and compare.
    #[arg(long)]
    distrust_change_tracking: bool,
    /// How content is hashed.
    #[arg(long, value_name = "KIND", default_value_t)]
    digest: DigestKind,
    /// At most so many bytes a second, for all replications together; where the file of schedules has a `[bandwidth]`, that
    /// holds instead. `unlimited` is the default.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "unlimited",
        hide_default_value = true
    )]
    rate: Rate,
    /// Threads per disk, and connections to its export. Sources far away want several reads at once, whatever the processors.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// How many machines are replicated at once.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    /// How many of those may be on one host of the source.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once_per_host: u16,
    /// How often a replication is attempted before it counts as failed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// How long is waited before the second attempt; before later ones four times as long each.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    retry_pause: u64,
}

impl Arguments {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// What could not be begun.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let settings = self.settings();
        let socket = self.socket();
        let client = self.daemon.client()?;
        let store = Store::open(&self.database)?;
        let _alone = Alone::with(&self.database)?;
        let (run, dead) = Run::begin(self.server.runtime_dir(), &std::env::temp_dir())?;
        clean_up_after(dead, &store, &settings.export).await;
        app::serve(Serving {
            replicator: Replicator {
                client,
                store: Arc::new(store),
                run,
                settings,
                board: Board::new(),
                rate: RateLimit::new(self.rate.bytes_per_second()),
            },
            sources: self.sources,
            schedules: self.schedules,
            rate: self.rate,
            token: self.token_file,
            listen: self.listen,
            requests_per_second: self.requests_per_second,
            discovery_listen: self.discovery_listen,
            certificate: CertificateFiles {
                certificate: self.certificate,
                key: self.key,
            },
            socket,
            worker_listen: self.worker_listen,
            worker_silence: Duration::from_secs(self.worker_silence),
            known_configs: self.ossea_config_ids,
        })
        .await
    }

    fn socket(&self) -> SocketPlace {
        match &self.socket {
            Some(path) if path.as_os_str().is_empty() => SocketPlace::Nowhere,
            Some(path) => SocketPlace::At(path.clone()),
            None => SocketPlace::Usual(self.server.runtime_dir().join("migrate-engine.sock")),
        }
    }

    fn settings(&self) -> ReplicationSettings {
        ReplicationSettings {
            buffer: self.buffer,
            route: match self.to_device {
                true => Route::Device,
                false => Route::Nbd,
            },
            export: self.server.settings(),
            afterwards: match self.keep_attached {
                true => Afterwards::StayAttached,
                false => Afterwards::Detach,
            },
            verification: match self.no_verify {
                true => Verification::Skip,
                false => Verification::ReadBack,
            },
            tracking: match self.distrust_change_tracking {
                true => Tracking::Distrusted,
                false => Tracking::Believed,
            },
            journal_dir: self.database.parent().map(|folder| folder.join("journals")),
            digest: self.digest,
            workers: usize::from(self.workers),
            operation_timeout: self.daemon.operation_timeout(),
            at_once: usize::from(self.at_once),
            at_once_per_host: usize::from(self.at_once_per_host),
            attempts: self.attempts,
            retry_pause: Duration::from_secs(self.retry_pause),
            worker_patience: Duration::from_secs(self.worker_patience),
        }
    }
}
