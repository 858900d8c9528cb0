//! The commands about jobs of the service.

mod change;
mod look;
mod watch;

pub(super) use change::{CancelArguments, CutoverReadyArguments, RetryArguments};
pub(super) use look::{JobArguments, JobsArguments};
pub(super) use watch::WatchArguments;
