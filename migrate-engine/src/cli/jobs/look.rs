//! `migrate-engine jobs` and `migrate-engine job`.

use clap::Args;

use super::super::form::Form;
use super::super::service::Service;
use crate::app::{Ending, jobs};
use crate::model::JobStatus;

/// List the jobs of the service, the newest first.
#[derive(Debug, Args)]
pub(in super::super) struct JobsArguments {
    /// Only those: `pending`, `running`, `completed`, `failed` or `cancelled`.
    #[arg(long, value_name = "STATUS")]
    status: Option<JobStatus>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    service: Service,
}

/// Tell everything about a job: steps, disks, notes, what went wrong and what to do.
#[derive(Debug, Args)]
pub(in super::super) struct JobArguments {
    /// The job.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    service: Service,
}

impl JobsArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        let client = self.service.client()?;
        jobs::list(&client, self.status, self.limit, self.form.form()).await
    }
}

impl JobArguments {
    pub(in super::super) async fn run(self) -> anyhow::Result<Ending> {
        jobs::show(&self.service.client()?, &self.id, self.form.form()).await
    }
}
