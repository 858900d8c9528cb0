//! `migrate-engine discover`: the machines of a source, with the numbers by which they are selected.

use clap::Args;

use super::access::AccessArguments;
use crate::app::{self, Ending, Form};
use crate::source::Wanted;

/// List the machines of a vCenter or an ESXi host.
///
/// Reads only. The numbers are those of the list: machines stand in the order of their paths.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: AccessArguments,
    /// Only in this datacenter, by name or path.
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// Only the machine of this name, path or id.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// As JSON, as the API answers it.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Lists them.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) async fn run(self) -> anyhow::Result<Ending> {
        let access = self.access.access()?;
        let wanted = Wanted {
            machine: self.filter,
            datacenter: self.datacenter,
        };
        let form = match self.json {
            true => Form::Json,
            false => Form::Text,
        };
        app::discover(&access, &wanted, form).await
    }
}
