//! `migrate-engine watch`.

use clap::Args;

use super::super::service::Service;
use crate::app::{Ending, jobs};

/// Follow jobs until all have ended: these, or all that are under way.
///
/// Exit status: 0 all completed, 1 one did not, 130 no longer watched; the jobs go on.
#[derive(Debug, Args)]
pub(in super::super) struct WatchArguments {
    /// The jobs.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    service: Service,
}

impl WatchArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        jobs::watch(&self.service.client()?, &self.ids).await
    }
}
