//! Follows the file of a plan while the process runs: what is good is handed on, what is bad is said.
//!
//! An alarm, a timer and a person all say no more than "look again"; the look decides, and does the same thing each time.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::file::{self, Found, PlanFileError};
use super::{Plan, Schedule};
use crate::config::Pace;
use crate::config::alarms::Alarms;
use crate::schedule::Bandwidth;

/// How long a file must be gone before its schedules are: editors write a new one in the place of the old.
const GONE: Duration = Duration::from_secs(2);
/// How often a file that never rests is looked at again before what was found is taken as it is.
const MOST_LOOKS: usize = 20;

/// The file of a plan, followed.
///
/// - A file that is not there is a plan without schedules; also when it goes, and stays away for two seconds.
/// - A file in which something is wrong changes nothing: the plan before it stays in force, and the problem is said.
/// - A change counts once two looks found the same: a file that is half written is not taken.
pub struct PlanWatch {
    path: PathBuf,
    pace: Pace,
    alarms: Alarms,
    /// Where the plan says nothing of bandwidth.
    usual: Bandwidth,
    schedules: watch::Sender<Vec<Schedule>>,
    bandwidth: watch::Sender<Bandwidth>,
    problem: watch::Sender<Option<Arc<PlanFileError>>>,
    asked: Arc<Notify>,
    /// What was found and judged last.
    judged: Found,
}

impl PlanWatch {
    /// Reads the file. `usual` is the bandwidth where the plan says nothing of it.
    ///
    /// # Errors
    /// All that is wrong in the file.
    pub async fn open(path: &Path, usual: Bandwidth) -> Result<Self, PlanFileError> {
        Self::open_at(path, usual, Pace::default()).await
    }

    /// The same at another pace.
    ///
    /// # Errors
    /// As [`PlanWatch::open`].
    pub async fn open_at(path: &Path, usual: Bandwidth, pace: Pace) -> Result<Self, PlanFileError> {
        let cannot = |source| PlanFileError::CannotFollow {
            path: path.to_owned(),
            source,
        };
        // Watched before it is read: a change in between is looked at once more.
        let mut alarms = Alarms::new(path).map_err(cannot)?;
        alarms.follow(path);
        let found = file::look(path).await;
        let plan = file::plan(path, &found)?;
        tracing::info!(path = %path.display(), schedules = plan.schedules.len(), "the schedules were read");
        Ok(Self {
            path: path.to_owned(),
            pace,
            alarms,
            schedules: watch::Sender::new(plan.schedules),
            bandwidth: watch::Sender::new(plan.bandwidth.unwrap_or_else(|| usual.clone())),
            usual,
            problem: watch::Sender::new(None),
            asked: Arc::default(),
            judged: found,
        })
    }

    /// The schedules in force, and those that come after them.
    #[must_use]
    pub fn schedules(&self) -> watch::Receiver<Vec<Schedule>> {
        self.schedules.subscribe()
    }

    /// The bandwidth in force, and what comes after it.
    #[must_use]
    pub fn bandwidth(&self) -> watch::Receiver<Bandwidth> {
        self.bandwidth.subscribe()
    }

    /// Why the file as it is now is not in force; `None` where it is.
    #[must_use]
    pub fn problem(&self) -> watch::Receiver<Option<Arc<PlanFileError>>> {
        self.problem.subscribe()
    }

    /// Where a person asks for a look. What is wrong is said again then.
    #[must_use]
    pub fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// Follows the file until it is stopped. Without it the plan stays as it was read.
    pub async fn run(mut self, stopping: CancellationToken) {
        let asked = Arc::clone(&self.asked);
        loop {
            let is_asked = tokio::select! {
                () = stopping.cancelled() => return,
                () = asked.notified() => true,
                () = self.alarms.time_to_look(self.pace) => false,
            };
            self.alarms.follow(&self.path);
            let found = tokio::select! {
                () = stopping.cancelled() => return,
                found = self.settled() => found,
            };
            if is_asked || !file::is_same(&found, &self.judged) {
                self.judge(found);
            }
        }
    }

    /// What two looks in a row found.
    async fn settled(&self) -> Found {
        let mut found = file::look(&self.path).await;
        for _ in 0..MOST_LOOKS {
            if file::is_same(&found, &self.judged) {
                break;
            }
            sleep(match found {
                Ok(None) => GONE.max(self.pace.quiet),
                _ => self.pace.quiet,
            })
            .await;
            let again = file::look(&self.path).await;
            if file::is_same(&found, &again) {
                break;
            }
            found = again;
        }
        found
    }

    fn judge(&mut self, found: Found) {
        match file::plan(&self.path, &found) {
            Ok(plan) => self.take(plan, &found),
            Err(error) => self.refuse(error),
        }
        self.judged = found;
    }

    fn take(&self, plan: Plan, found: &Found) {
        let path = self.path.display();
        let schedules = plan.schedules.len();
        match found {
            Ok(None) => tracing::warn!(%path, "the file of schedules is gone: there are no schedules"),
            _ => tracing::info!(%path, schedules, "the file of schedules is in force"),
        }
        put(&self.schedules, plan.schedules);
        put(
            &self.bandwidth,
            plan.bandwidth.unwrap_or_else(|| self.usual.clone()),
        );
        // After them: whoever waits for the end of a problem finds the plan that ended it.
        self.problem.send_if_modified(|problem| problem.take().is_some());
    }

    fn refuse(&self, error: PlanFileError) {
        for problem in error.problems() {
            tracing::error!(%error, problem, "the schedules stay as they were");
        }
        self.problem.send_replace(Some(Arc::new(error)));
    }
}

/// What is the same wakes nobody.
fn put<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|present| {
        let is_new = *present != value;
        *present = value;
        is_new
    });
}
