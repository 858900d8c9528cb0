//! What is remembered of runs, so that what was missed while the process was down can be said.

use jiff::Timestamp;

use super::Selection;

/// The record of runs. Its methods may block for milliseconds: they are called on threads that may.
///
/// A run is named by its schedule and the instant at which it had to begin: what the calendar says or, where the run was
/// deferred, the end of the blackout.
pub trait Memory: Send + Sync {
    /// The latest instant that was recorded for a schedule by [`Memory::ran`] or as the last of [`Memory::missed`], not what
    /// was recorded last: a start that takes long is recorded after later runs were skipped. Where there is none, since when
    /// the schedule is known, if that is known: what was due since then counts as missed.
    ///
    /// # Errors
    /// It cannot be known. What was missed then stays unsaid, and the calendar goes on from the present.
    fn last_run(&self, schedule: &str) -> Result<Option<Timestamp>, MemoryError>;

    /// Records what became of a run; once for each.
    ///
    /// # Errors
    /// It could not be recorded. That is logged; the schedule goes on.
    fn ran(&self, schedule: &str, due: Timestamp, outcome: &Outcome) -> Result<(), MemoryError>;

    /// Records runs that did not take place because nobody was there to begin them. They are not caught up.
    ///
    /// # Errors
    /// As with [`Memory::ran`].
    fn missed(&self, schedule: &str, missed: &Missed) -> Result<(), MemoryError>;
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Each selection was started, or could not be.
    Begun(Vec<Begun>),
    /// It was due in a blackout, and is to be skipped there.
    SkippedInBlackout {
        /// When the blackout ends.
        until: Timestamp,
    },
    /// An earlier run of the schedule was still being started.
    SkippedWhileStarting {
        /// When that one had to begin.
        earlier: Timestamp,
    },
}

/// What became of one selection of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Which virtual machines.
    pub selection: Selection,
    /// The id of the job, or why there is none.
    pub job: Result<String, String>,
}

/// Runs that did not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// When the first of them had to begin.
    pub first: Timestamp,
    /// When the last of them had to begin.
    pub last: Timestamp,
    /// How many; 10 000 stands for that many or more, and `last` is then the last that was counted.
    pub runs: u32,
}

/// Runs could not be remembered or recalled.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct MemoryError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl Missed {
    /// `missed` and a later run.
    pub(super) fn and(missed: Option<Self>, run: Timestamp) -> Self {
        match missed {
            None => Self {
                first: run,
                last: run,
                runs: 1,
            },
            Some(missed) => Self {
                last: run,
                runs: missed.runs + 1,
                ..missed
            },
        }
    }
}
