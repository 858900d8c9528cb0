//! Snapshots: made once, found again after a crash, read, and removed.
//!
//! A snapshot of ours is known by its name and its description, both chosen by the caller and unique to one cycle. So
//! making it again after a lost answer gives the one that is there, and one that was forgotten can be found.

mod operation;
mod tree;

pub(super) use operation::is_gone;
pub use operation::{Quiesce, SnapshotDisks, SnapshotRequest};
pub use tree::SnapshotNode;
