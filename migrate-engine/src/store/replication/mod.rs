//! The records of replications: machines, jobs with their steps, disks with what their volumes are equal to.
//!
//! A job is changed only by the one who works on it, told by its `attempt`: what an earlier one still wants to write is
//! refused ([`StoreError::Superseded`](super::StoreError::Superseded)).

mod attempts;
mod contexts;
mod disks;
mod jobs;
mod steps;
#[cfg(test)]
mod tests;

pub use attempts::{JobEnd, Turn};
pub use contexts::{ContextRow, ContextStatus};
pub use disks::{Content, DiskState, FinishedDisk, JobDisk, Written};
pub use jobs::{JobFilter, JobRow, NewJob, Submission};
pub use steps::StepRow;

pub(super) const SCHEMA: &str = include_str!("schema.sql");
/// What other programs read it by.
pub(super) const VIEWS: &str = include_str!("views.sql");
