//! What has come of attempts at jobs since the process started.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::ReplicationError;

/// Counts that only grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    completed: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    interrupted: AtomicU64,
}

impl Tally {
    /// An attempt ended, with this error or none.
    pub(super) fn note(&self, error: Option<&ReplicationError>) {
        let counter = match error {
            None => &self.completed,
            Some(error) if error.is_cancelled() || error.is_superseded() => &self.interrupted,
            Some(error) if error.is_final() => &self.given_up,
            Some(_) => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The word for each outcome, and how often it came. `failed` may be tried again, `given_up` makes no sense to.
    pub(super) fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("completed", self.completed.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("given_up", self.given_up.load(Relaxed)),
            ("interrupted", self.interrupted.load(Relaxed)),
        ]
    }
}
