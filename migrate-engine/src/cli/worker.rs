//! `migrate-engine worker`: what may be asked, and the settings that it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::access::Trust;
use crate::app::{self, Ending, Working};
use crate::worker::hand::ServiceAddress;

/// Work beside a source for a service that is elsewhere: read disks here, and write them there.
///
/// Reaches out to the service over HTTPS; nothing has to reach it. Keeps nothing: ended or killed, another one goes on.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The service: `https://HOST[:PORT]`, where its `--worker-listen` is.
    #[arg(long, env = "MIGRATE_ENGINE_SERVICE", value_name = "URL")]
    service: ServiceAddress,
    /// The file of the token by which the service knows this worker.
    #[arg(long, value_name = "PATH", default_value = "/etc/migrate-engine/worker.token")]
    token_file: PathBuf,
    /// The file that tells how sources are reached from here; read anew on SIGHUP.
    #[arg(long, value_name = "PATH", default_value = "/etc/migrate-engine/sources.toml")]
    sources: PathBuf,
    /// Where sockets are kept, while servers of ours read disks. Not that of a service.
    #[arg(long, value_name = "DIR", default_value = "/run/migrate-engine-worker")]
    runtime_dir: PathBuf,
    /// Where discovery is asked for, on the loopback, such as 127.0.0.1:9081; without it, nowhere.
    #[arg(long, value_name = "ADDRESS:PORT")]
    discovery_listen: Option<SocketAddr>,
    #[command(flatten)]
    trust: Trust,
}

impl Arguments {
    /// Works until a signal comes.
    ///
    /// # Errors
    /// What could not be begun.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        app::work(Working {
            service: self.service,
            believe: self.trust.believe(),
            token: self.token_file,
            sources: self.sources,
            runtime_dir: self.runtime_dir,
            discovery_listen: self.discovery_listen,
        })
        .await
    }
}
