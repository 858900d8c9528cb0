//! The machines of a source, by logging in there.

use super::super::book::{self, Access};
use crate::model::MachineSpec;
use crate::source::{Source as _, SourceFailure, Wanted};

/// All of them, as they are now, in the order of their paths.
pub(super) async fn list(access: &Access) -> Result<Vec<MachineSpec>, SourceFailure> {
    let source = book::connect(access).await?;
    let found = source.machines(&Wanted::default()).await;
    source.close().await;
    found
}
