//! The arguments that name the daemon, and say how patient its caller is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use volume_client::VolumedClient;

/// Which daemon.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// The daemon's Unix socket.
    #[arg(
        long,
        env = "VOLUMED_SOCKET",
        value_name = "PATH",
        conflicts_with = "volumed_url"
    )]
    volumed_socket: Option<PathBuf>,
    /// The daemon's address on loopback.
    #[arg(long, env = "VOLUMED_URL", value_name = "URL")]
    volumed_url: Option<String>,
    /// How long an operation of the daemon is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 150)]
    operation_timeout: u64,
}

impl Daemon {
    pub(super) fn client(&self) -> anyhow::Result<VolumedClient> {
        let builder = VolumedClient::builder();
        let builder = match (&self.volumed_socket, &self.volumed_url) {
            (Some(socket), _) => builder.unix(socket),
            (None, Some(url)) => builder.http(url),
            (None, None) => builder.from_env(),
        };
        let traced = builder.headers(|headers| telemetry::trace::Context::current().write(headers));
        Ok(traced.build()?)
    }

    pub(super) fn operation_timeout(&self) -> Duration {
        Duration::from_secs(self.operation_timeout)
    }
}
