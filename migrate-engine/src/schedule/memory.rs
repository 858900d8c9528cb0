//! What is remembered of runs, so that what was missed while the process was down can be said.

use jiff::Timestamp;

use super::{Missed, Outcome};
pub use crate::store::BegunBy;

/// The record of runs. Its methods may block for milliseconds: they are called on threads that may.
///
/// A run is named by its schedule and the instant at which it had to begin: what the calendar says or, where the run was
/// deferred, the end of the blackout.
pub trait Memory: Send + Sync {
    /// Records that these schedules are there from now on, and no others. One that is new is known since now; the others
    /// keep what is remembered of them.
    ///
    /// # Errors
    /// It could not be recorded. That is logged; the schedules go on.
    fn know(&self, schedules: &[String], now: Timestamp) -> Result<(), MemoryError>;

    /// Records that a schedule goes on from the present: its calendar is another, or the clock was.
    ///
    /// # Errors
    /// As with [`Memory::know`].
    fn renew(&self, schedule: &str, now: Timestamp) -> Result<(), MemoryError>;

    /// The latest instant that was recorded for a schedule by [`Memory::ran`] or as the last of [`Memory::missed`], not what
    /// was recorded last: a start that takes long is recorded after later runs were skipped. Where there is none, since when
    /// the schedule is known, if that is known: what was due since then counts as missed.
    ///
    /// # Errors
    /// It cannot be known. What was missed then stays unsaid, and the calendar goes on from the present.
    fn last_run(&self, schedule: &str) -> Result<Option<Timestamp>, MemoryError>;

    /// Records what became of a run; once for each. One that a person began is no [`Memory::last_run`].
    ///
    /// # Errors
    /// It could not be recorded. That is logged; the schedule goes on.
    fn ran(&self, schedule: &str, due: Timestamp, by: BegunBy, outcome: &Outcome) -> Result<(), MemoryError>;

    /// Records runs that did not take place because nobody was there to begin them. They are not caught up.
    ///
    /// # Errors
    /// As with [`Memory::ran`].
    fn missed(&self, schedule: &str, missed: &Missed) -> Result<(), MemoryError>;

    /// The last runs of a schedule, at most `most` of those that were taken and `most` records of missed ones; the latest
    /// first.
    ///
    /// # Errors
    /// It cannot be known.
    fn history(&self, schedule: &str, most: u32) -> Result<History, MemoryError>;
}

/// What became of a schedule's runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// Those that were begun or skipped.
    pub taken: Vec<Past>,
    /// Those that were missed.
    pub missed: Vec<Missed>,
}

/// A run that was begun or skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// When it had to begin.
    pub at: Timestamp,
    /// What made it begin.
    pub begun_by: BegunBy,
    /// What became of it.
    pub outcome: Outcome,
}

/// Runs could not be remembered or recalled.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct MemoryError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
