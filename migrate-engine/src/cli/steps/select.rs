//! `migrate-engine steps select`.

use clap::Args;

use super::super::access::Trust;
use crate::app::{Access, Ending, steps};
use crate::config::steps::{Section, StepsFile};

/// Step 3: select machines by their serial numbers, in a list that is fetched from the source for it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Numbers and ranges of the list, or `all`.
    #[arg(value_name = "1,3,5-7")]
    selection: String,
    #[command(flatten)]
    trust: Trust,
}

impl Arguments {
    pub(super) async fn run(self, config: &StepsFile) -> anyhow::Result<Ending> {
        let source = config.read_besides(Section::SelectedVms)?.source()?;
        let access = Access::as_usual(source.host, source.user, source.password, self.trust.believe());
        steps::select(config, &access, &self.selection).await
    }
}
