//! `migrate-engine steps platforms`.

use clap::Args;

use crate::config::steps::{Platforms, SourcePlatform, TargetPlatform};

/// Step 1: choose from where to where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// `esxi` or `vcenter`.
    #[arg(long, value_name = "PLATFORM")]
    from: SourcePlatform,
    /// `cloudstack`, `proxmox` or `kvm`.
    #[arg(long, value_name = "PLATFORM")]
    to: TargetPlatform,
}

impl Arguments {
    pub(super) fn platforms(&self) -> Platforms {
        Platforms {
            source: self.from,
            target: self.to,
        }
    }
}
