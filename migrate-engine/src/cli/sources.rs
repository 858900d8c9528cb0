//! `migrate-engine sources`: what the service knows, without credentials of ours.

use clap::Args;

use super::service::Service;
use crate::app::{self, Ending};

/// List the sources that the service knows, or the machines of one with their serial numbers.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The machines of this source.
    #[arg(value_name = "HOST")]
    host: Option<String>,
    /// Only in this datacenter, by name or path.
    #[arg(long, value_name = "NAME", requires = "host")]
    datacenter: Option<String>,
    #[command(flatten)]
    service: Service,
}

impl Arguments {
    /// Lists them.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let client = self.service.client()?;
        match &self.host {
            Some(host) => app::machines_of(&client, host, self.datacenter.as_deref()).await,
            None => app::sources(&client).await,
        }
    }
}
