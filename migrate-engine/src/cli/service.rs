//! The arguments that say where the service is, and which token it wants.

use std::path::PathBuf;

use clap::Args;

use crate::app::client::Client;
use crate::source::vsphere::{Fingerprint, Trust};

/// Which service.
#[derive(Debug, Args)]
pub(super) struct Service {
    /// Where `migrate-engine serve` listens.
    #[arg(
        long,
        env = "MIGRATE_ENGINE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8082"
    )]
    url: String,
    /// The file of its token.
    #[arg(
        long,
        env = "MIGRATE_ENGINE_TOKEN_FILE",
        value_name = "PATH",
        default_value = "/var/lib/migrate-engine/token"
    )]
    token_file: PathBuf,
    /// Over TLS, believe whoever an authority of this PEM file vouches for; without it, an authority of the system.
    #[arg(
        long,
        env = "MIGRATE_ENGINE_CA_FILE",
        value_name = "PATH",
        conflicts_with = "fingerprint"
    )]
    ca_file: Option<PathBuf>,
    /// Over TLS, believe whoever has the certificate of this SHA-256 fingerprint: the service says its own when it starts.
    #[arg(long, env = "MIGRATE_ENGINE_FINGERPRINT", value_name = "AB:CD:…")]
    fingerprint: Option<Fingerprint>,
}

impl Service {
    fn trust(&self) -> Trust {
        match (&self.ca_file, self.fingerprint) {
            (Some(path), _) => Trust::CaFile(path.clone()),
            (None, Some(print)) => Trust::Pinned(print),
            (None, None) => Trust::SystemRoots,
        }
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.url, &self.token_file, &self.trust()).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            anyhow::Error::new(error).context(format!("cannot ask the service: {hint}"))
        })
    }
}
