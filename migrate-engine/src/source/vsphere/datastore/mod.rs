//! Files of datastores, read over HTTPS in ranges: disks without any of VMware's libraries.
//!
//! What can be read: disks of machines that are off, and the frozen links of those that run under a snapshot. The link
//! that a running machine writes to is locked. Served by the vCenter's or the host's own web server: some tens of MB/s.

mod content_range;
mod descriptor;
mod error;
mod file;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod path;
mod retry;
#[cfg(test)]
mod tests;

pub use error::FolderError;
pub use file::FolderFile;
pub use path::{DatastorePath, DatastorePathParseError};
