//! `migrate-engine cancel`, `retry` and `cutover-ready`.

use clap::Args;

use super::super::service::Service;
use crate::app::Ending;
use crate::app::client::Change;
use crate::app::jobs::{self, Afterwards};

/// Stop jobs. What they hold is given back.
///
/// Exit status: 0 all are stopped or (without --wait) will be, 1 one is not known, or has ended before.
#[derive(Debug, Args)]
pub(in super::super) struct CancelArguments {
    /// The jobs.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Wait until they have ended.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    service: Service,
}

/// Do jobs again that failed or were cancelled, under their own ids.
#[derive(Debug, Args)]
pub(in super::super) struct RetryArguments {
    /// The jobs.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    service: Service,
}

/// Declare the machine of a completed job ready to be cut over.
#[derive(Debug, Args)]
pub(in super::super) struct CutoverReadyArguments {
    /// The last job of the machine.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    service: Service,
}

impl CancelArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        let afterwards = match self.wait {
            true => Afterwards::Wait,
            false => Afterwards::Leave,
        };
        jobs::change(&self.service.client()?, &self.ids, Change::Cancel, afterwards).await
    }
}

impl RetryArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        jobs::change(
            &self.service.client()?,
            &self.ids,
            Change::Retry,
            Afterwards::Leave,
        )
        .await
    }
}

impl CutoverReadyArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        let ids = [self.id];
        jobs::change(
            &self.service.client()?,
            &ids,
            Change::CutoverReady,
            Afterwards::Leave,
        )
        .await
    }
}
