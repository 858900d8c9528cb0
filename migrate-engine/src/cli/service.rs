//! The arguments that say where the service is, and which token it wants.

use std::path::PathBuf;

use clap::Args;

use crate::app::client::Client;

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
}

impl Service {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.url, &self.token_file).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            anyhow::Error::new(error).context(format!("cannot ask the service: {hint}"))
        })
    }
}
