//! `migrate-engine steps source`.

use clap::Args;

use super::super::access::AccessArguments;
use crate::app::Access;

/// Step 2: log in to the source, list its machines with their serial numbers, and write it down.
///
/// Nothing is written where the login fails. Whom to believe (--ca-file, --fingerprint, --insecure) is no part of the
/// configuration, and is said again in step 3. The password stands in the configuration in the clear, as that form has it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        self.access.access()
    }
}
