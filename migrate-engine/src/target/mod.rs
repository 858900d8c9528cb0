//! Where disks go: volumes, which the daemon finds or makes, attaches and proves.

mod export;
mod volume;

pub use export::{Export, ExportFailure, Exports};
pub use volume::{TargetError, TargetVolume, Wanted, provision};
