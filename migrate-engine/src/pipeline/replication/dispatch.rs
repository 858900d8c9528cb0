//! Begins jobs when it is their turn, as many at once as there may be, and sees each to its end.
//!
//! What is to be done stands in the records alone: whoever is woken looks there, at a signal and at a timer. A process that
//! ends leaves its jobs as they are, and the next one goes on with them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use volume_client::VolumedClient;

use super::tally::Tally;
use super::{ReplicationError, Replicator};
use crate::block::Cancel;
use crate::model::{MachineSpec, Step};
use crate::source::{Source, SourceBook};
use crate::store::{JobEnd, JobRow, Store, Turn};
use crate::target::stopped;

/// How often the records are looked at without being woken.
const LOOK: Duration = Duration::from_secs(5);
/// How long a worker is waited for that is to clean up at its source.
const CLEANING: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Begins jobs when it is their turn.
pub struct Dispatcher {
    replicator: Replicator,
    book: Arc<dyn SourceBook>,
    running: Mutex<HashMap<String, Running>>,
    wake: Notify,
    stopping: CancellationToken,
    tally: Tally,
}

struct Running {
    cancel: Cancel,
    /// The source and its host that the machine is on.
    host: (String, Option<String>),
}

impl Dispatcher {
    /// One that begins nothing before [`run`](Self::run). It ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(replicator: Replicator, book: Arc<dyn SourceBook>, stopping: CancellationToken) -> Self {
        Self {
            replicator,
            book,
            running: Mutex::default(),
            wake: Notify::new(),
            stopping,
            tally: Tally::default(),
        }
    }

    /// Begins jobs until it is stopped; then those under way are interrupted, give back what they hold, and stay to be gone
    /// on with.
    pub async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        loop {
            if let Err(error) = self.begin(&mut tasks) {
                tracing::error!(%error, "cannot look for jobs");
            }
            tokio::select! {
                () = self.stopping.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(_) = tasks.join_next() => {}
            }
        }
        for running in self.running.lock().values() {
            running.cancel.cancel();
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Says that there is something new to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Interrupts a job that is under way here.
    pub fn stop(&self, job: &str) {
        if let Some(running) = self.running.lock().get(job) {
            running.cancel.cancel();
        }
        self.wake();
    }

    /// How sources are reached.
    #[must_use]
    pub fn book(&self) -> &dyn SourceBook {
        &*self.book
    }

    /// The daemon.
    #[must_use]
    pub fn daemon(&self) -> &VolumedClient {
        &self.replicator.client
    }

    /// The engine's records.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.replicator.store
    }

    /// What has come of attempts since the process started.
    #[must_use]
    pub fn attempts(&self) -> [(&'static str, u64); 4] {
        self.tally.counts()
    }

    /// How many jobs are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.running.lock().len()
    }

    fn begin(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Result<(), ReplicationError> {
        for job in self.store().unfinished_jobs()? {
            let host = self.host_of(&job)?;
            let cancel = Cancel::new();
            {
                let mut running = self.running.lock();
                let on_host = running.values().filter(|other| other.host == host).count();
                let settings = &self.replicator.settings;
                if running.len() >= settings.at_once {
                    return Ok(());
                }
                let is_full = host.1.is_some() && on_host >= settings.at_once_per_host;
                if is_full || running.contains_key(&job.id) {
                    continue;
                }
                let cancel = cancel.clone();
                running.insert(job.id.clone(), Running { cancel, host });
            }
            let this = Arc::clone(self);
            let span = tracing::info_span!(parent: None, "job", job_id = job.id);
            let seeing = async move {
                let place = Place {
                    dispatcher: &this,
                    job: &job.id,
                };
                let seen = AssertUnwindSafe(this.see_through(&job, &cancel))
                    .catch_unwind()
                    .await;
                let recorded = match seen {
                    Ok(recorded) => recorded,
                    Err(_) => this.give_up(&job).await,
                };
                if let Err(error) = recorded {
                    tracing::error!(
                        job = job.id,
                        error = error.chain(),
                        "cannot record what became of a job"
                    );
                }
                drop(place);
            };
            tasks.spawn(seeing.instrument(span));
        }
        Ok(())
    }

    fn host_of(&self, job: &JobRow) -> Result<(String, Option<String>), ReplicationError> {
        let context = self.store().context(job.context)?;
        Ok(context.map_or_else(Default::default, |context| {
            let machine: MachineSpec = serde_json::from_str(&context.specification).unwrap_or_default();
            (context.vcenter_host, machine.host)
        }))
    }

    /// Attempts a job until it is at its end, or the process is.
    async fn see_through(&self, job: &JobRow, cancel: &Cancel) -> Result<(), ReplicationError> {
        let mut failures = 0;
        loop {
            let Some(turn) = self.store().begin_attempt(&job.id)? else {
                return Ok(());
            };
            let outcome = match self.is_unwanted(&job.id)? {
                true => Err(ReplicationError::Cancelled),
                false => {
                    let span = tracing::info_span!("attempt", attempt = turn.attempt);
                    self.attempt(job, &turn, cancel).instrument(span).await
                }
            };
            self.tally.note(outcome.as_ref().err());
            let error = match outcome {
                Ok(()) => return Ok(self.store().end_job(&turn, &JobEnd::Completed)?),
                Err(error) if error.is_superseded() => return Ok(()),
                Err(error) => error,
            };
            if error.is_cancelled() || cancel.is_cancelled() {
                // Where only the process ends, the job goes on with the next one.
                return match self.is_unwanted(&job.id)? {
                    true => self.abandon(job, &turn, &JobEnd::Cancelled, None).await,
                    false => Ok(()),
                };
            }
            failures += u32::from(!error.is_progress());
            tracing::warn!(job = job.id, failures, error = error.chain(), "an attempt failed");
            if error.is_final() || failures >= self.replicator.settings.attempts {
                return self.abandon(job, &turn, &end_of(&error), Some(&error)).await;
            }
            self.store().note_failure(&turn, &error.chain())?;
            let pause = self.replicator.settings.retry_pause * 4u32.pow(failures.saturating_sub(1).min(6));
            let pausing = async {
                tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
                if error.is_away() {
                    let patience = self.replicator.settings.worker_patience;
                    self.book.present(&self.host_of(job)?.0, patience).await;
                }
                Ok::<_, ReplicationError>(())
            };
            tokio::select! {
                paused = pausing => paused?,
                () = stopped(cancel) => {}
            }
        }
    }

    /// Ends a job on which a thread of ours panicked: another attempt would most likely do so, too.
    async fn give_up(&self, job: &JobRow) -> Result<(), ReplicationError> {
        let Some(turn) = self.store().begin_attempt(&job.id)? else {
            return Ok(());
        };
        let end = JobEnd::Failed {
            error: "a defect of the engine: its log says where".to_owned(),
            code: "internal".to_owned(),
            hint: Some("report it, with the log; what is under way for other machines goes on".to_owned()),
        };
        self.abandon(job, &turn, &end, None).await
    }

    fn is_unwanted(&self, job: &str) -> Result<bool, ReplicationError> {
        Ok(self.store().job(job)?.is_none_or(|job| job.cancel_requested))
    }

    async fn attempt(&self, job: &JobRow, turn: &Turn, cancel: &Cancel) -> Result<(), ReplicationError> {
        let source = self.source_of(job).await?;
        self.replicator.attempt(job, turn, &*source, cancel).await
    }

    async fn source_of(&self, job: &JobRow) -> Result<Arc<dyn Source>, ReplicationError> {
        let (vcenter_host, _) = self.host_of(job)?;
        Ok(self.book.connect(&vcenter_host).await?)
    }

    /// Ends a job that will not be tried again: takes away what it, or a process that was killed with it, left at the source
    /// and attached here. What cannot be taken away is said.
    async fn abandon(
        &self,
        job: &JobRow,
        turn: &Turn,
        end: &JobEnd,
        why: Option<&ReplicationError>,
    ) -> Result<(), ReplicationError> {
        let at_source = async {
            // Accounts are locked after a few wrong passwords: it is not sent once more.
            if why.is_some_and(ReplicationError::is_refused_login) {
                return self.was_never_frozen(job);
            }
            self.book.present(&self.host_of(job)?.0, CLEANING).await;
            let source = self.source_of(job).await?;
            self.replicator.clean_up_source(job, &*source).await
        };
        let (at_source, here) = (at_source.await, self.replicator.clean_up_here(job).await);
        for left in [at_source.err(), here.err()].into_iter().flatten() {
            tracing::warn!(
                job = job.id,
                error = left.chain(),
                "something of a job may be left"
            );
            let note = format!("something may be left behind: {}", left.chain());
            self.store().add_note(turn, &note)?;
        }
        Ok(self.store().end_job(turn, end)?)
    }
}

impl Dispatcher {
    /// Whether a job got nowhere near a snapshot, so that none of its can be at the source.
    fn was_never_frozen(&self, job: &JobRow) -> Result<(), ReplicationError> {
        let steps = self.store().steps(&job.id)?;
        match steps
            .iter()
            .any(|step| step.step >= Step::TransferStarted.number())
        {
            true => Err(ReplicationError::Unsought),
            false => Ok(()),
        }
    }
}

fn end_of(error: &ReplicationError) -> JobEnd {
    JobEnd::Failed {
        error: error.chain(),
        code: error.code().to_owned(),
        hint: error.hint(),
    }
}

/// The place of a job among those under way; free again when this is dropped, even by a panic.
struct Place<'a> {
    dispatcher: &'a Dispatcher,
    job: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.dispatcher.running.lock().remove(self.job);
        self.dispatcher.wake();
    }
}
