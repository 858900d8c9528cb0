//! The timetable: what schedules there are and when each begins next, and where a person starts one now.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Begun, History, Memory, MemoryError, Run, Schedule};

/// The scheduler's own view, for people. Cheap to clone.
#[derive(Clone)]
pub struct Timetable {
    standing: watch::Receiver<Option<Vec<Standing>>>,
    asks: mpsc::Sender<Ask>,
    memory: Arc<dyn Memory>,
}

/// A schedule, and what is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The schedule that is in force.
    pub schedule: Schedule,
    /// Its next run; also one that waits for the end of a blackout.
    pub next: Option<Run>,
}

/// Why a schedule is not started now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunNowError {
    /// There is none.
    #[error("there is no schedule `{schedule}`")]
    NoSuchSchedule {
        /// What was asked for.
        schedule: String,
    },
    /// It is being started already.
    #[error("the run of `{schedule}` that had to begin at {since} is still being started")]
    BeingStarted {
        /// The schedule.
        schedule: String,
        /// When that run had to begin.
        since: Timestamp,
    },
    /// It is not known what was started.
    #[error("the service stopped, or failed, before it was known what was started: look whether jobs began")]
    BrokeOff,
}

/// What a person asks for, and where the answer goes.
pub(super) struct Ask {
    pub(super) schedule: String,
    pub(super) answer: Answer,
}

pub(super) type Answer = oneshot::Sender<Result<Vec<Begun>, RunNowError>>;

impl Timetable {
    pub(super) fn new(
        standing: watch::Receiver<Option<Vec<Standing>>>,
        asks: mpsc::Sender<Ask>,
        memory: Arc<dyn Memory>,
    ) -> Self {
        Self {
            standing,
            asks,
            memory,
        }
    }

    /// The schedules by name. Waits until the scheduler has looked at its calendar for the first time; nothing where it never
    /// did.
    pub async fn standing(&self) -> Vec<Standing> {
        let mut standing = self.standing.clone();
        let found = standing.wait_for(Option::is_some).await;
        found.ok().and_then(|found| found.clone()).unwrap_or_default()
    }

    /// What became of a schedule's last runs.
    ///
    /// # Errors
    /// It cannot be known.
    pub async fn history(&self, schedule: &str, most: u32) -> Result<History, MemoryError> {
        let (memory, schedule) = (Arc::clone(&self.memory), schedule.to_owned());
        let looking = tokio::task::spawn_blocking(move || memory.history(&schedule, most));
        looking
            .await
            .unwrap_or_else(|broken| Err(MemoryError(broken.into())))
    }

    /// Starts all that a schedule is about, now, also in a blackout; the calendar is left as it is. Returns when each machine
    /// has its job on record or was refused. Given up while it waits, the start goes on, and is recorded.
    ///
    /// # Errors
    /// Why it was not started, or that it is not known.
    pub async fn run_now(&self, schedule: &str) -> Result<Vec<Begun>, RunNowError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            schedule: schedule.to_owned(),
            answer,
        };
        self.asks.send(ask).await.map_err(|_| RunNowError::BrokeOff)?;
        answered.await.unwrap_or(Err(RunNowError::BrokeOff))
    }
}
