//! What a migration of disks is about: sizes, names, and what is reported of them. Data only.

mod report;
mod size;

pub use report::{CopyReport, DigestReport, DiskReport, Outcome, Route};
pub use size::{Size, SizeParseError, volume_size};
