//! `migrate-engine start`: which machines, how, and whether somebody is asked.

use clap::Args;

use super::form::Form;
use super::service::Service;
use crate::app::Ending;
use crate::app::start::{self, Afterwards, Consent, Pick, Start};
use crate::model::ReplicationType;

/// Replicate machines: asks the service for one replication each, after a summary and a question.
///
/// The list is fetched anew, with what the service knows of the source. A machine that is refused does not stop the others.
///
/// Exit status: 0 all were started (with --watch: completed), 1 one was refused or failed, 130 not confirmed, or no longer
/// watched; jobs that were started go on.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The vCenter or ESXi host, as the service's file of sources names it; `migrate-engine sources` lists them.
    #[arg(long, value_name = "HOST")]
    vcenter: String,
    #[command(flatten)]
    which: Which,
    /// From nothing, or what has changed since the last one; decided by the service where it is not given.
    #[arg(long = "type", value_name = "initial|incremental")]
    replication_type: Option<ReplicationType>,
    /// Only in this datacenter, by name or path. The numbers are then those of its list.
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// Follow them to their end.
    #[arg(long)]
    watch: bool,
    /// Start without being asked.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    service: Service,
}

/// Which machines of the list.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// These, by path, id or name.
    #[arg(long, value_name = "PATH|NAME", num_args = 1..)]
    vm: Vec<String>,
    /// Those of these serial numbers.
    #[arg(long, value_name = "1,3,5-7")]
    select: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

impl Arguments {
    /// Starts them.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let client = self.service.client()?;
        let start = Start {
            vcenter: self.vcenter,
            datacenter: self.datacenter,
            pick: self.which.pick(),
            replication_type: self.replication_type,
            consent: match self.yes {
                true => Consent::Given,
                false => Consent::Ask,
            },
            afterwards: match self.watch {
                true => Afterwards::Watch,
                false => Afterwards::Leave,
            },
            form: self.form.form(),
        };
        start::start(&client, &start).await
    }
}

impl Which {
    fn pick(self) -> Pick {
        match self.select {
            Some(text) => Pick::Numbers(text),
            None if self.all => Pick::All,
            None => Pick::Named(self.vm),
        }
    }
}
