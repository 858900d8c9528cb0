//! Where disks go: volumes, which the daemon finds or makes, attaches and proves.

mod attach;
mod error;
mod export;
mod operation;
mod volume;

pub use attach::{Tell, open};
pub use error::TargetError;
pub use export::{ExportFailure, Exports};
pub use operation::stopped;
pub use volume::{Subject, Volumes, Wanted};
