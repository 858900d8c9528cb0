//! The loop that waits for what is due, has it started, and records what became of it.

mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Event, Turn};
use super::clock::nap;
use super::{Clock, Fate, Memory, MemoryError, Outcome, Schedule, Starter};
use start::Starts;

/// Begins what is due.
///
/// - Schedules that are due at one time run beside one another. A run's selections are started one after another.
/// - A run that is due while the start of its schedule's earlier run is still under way is skipped, and that is said.
/// - What was due while the process was down, or more than five minutes ago, is recorded as missed and not caught up.
/// - A clock that is set back by up to an hour repeats no run; by more, the calendar goes on from the present.
/// - Crash: a run is recorded once all its selections are started. Where the process dies before, the run counts as missed
///   at the next start, although jobs of it may have begun; it is not begun twice.
pub struct Scheduler {
    starter: Arc<dyn Starter>,
    memory: Arc<dyn Memory>,
    clock: Arc<dyn Clock>,
}

impl Scheduler {
    /// A scheduler that has begun nothing.
    #[must_use]
    pub fn new(starter: Arc<dyn Starter>, memory: Arc<dyn Memory>, clock: Arc<dyn Clock>) -> Self {
        Self {
            starter,
            memory,
            clock,
        }
    }

    /// Runs until it is stopped, and then until the starts that are under way have come to their end: a start that was sent
    /// is recorded. Whoever cannot wait drops it, which breaks them off.
    ///
    /// Schedules sent through the channel replace the ones before. One whose calendar or zone changed goes on from the
    /// present; any other keeps its place, also a run that waits for the end of a blackout. A new one begins with the
    /// present. Of two schedules of one name the last is taken; [`super::Plan`] has none such.
    pub async fn run(self, mut schedules: watch::Receiver<Vec<Schedule>>, stopping: CancellationToken) {
        let first = schedules.borrow_and_update().clone();
        let mut starts = Starts::new(Arc::clone(&self.starter), Arc::clone(&self.memory));
        let mut agenda = self.open(first, &mut starts).await;
        let mut sender_lives = true;
        while !stopping.is_cancelled() {
            let turns = agenda.advance(self.clock.now());
            self.act(turns, &mut starts).await;
            tokio::select! {
                () = stopping.cancelled() => {}
                changed = schedules.changed(), if sender_lives => match changed {
                    Ok(()) => {
                        let new = schedules.borrow_and_update().clone();
                        tracing::info!(schedules = new.len(), "schedules were replaced");
                        let turns = agenda.replace(new, self.clock.now());
                        self.act(turns, &mut starts).await;
                    }
                    Err(_) => sender_lives = false,
                },
                ended = starts.one_ends() => starts.ended(ended).await,
                () = nap(&*self.clock, agenda.next()) => {}
            }
        }
        starts.all_end().await;
    }

    async fn open(&self, schedules: Vec<Schedule>, starts: &mut Starts) -> Agenda {
        let mut known = Vec::new();
        for schedule in schedules {
            let last_run = self.last_run(schedule.name.clone()).await;
            known.push((schedule, last_run));
        }
        let (agenda, turns) = Agenda::open(known, self.clock.now());
        self.act(turns, starts).await;
        agenda
    }

    async fn last_run(&self, schedule: String) -> Option<Timestamp> {
        let name = schedule.clone();
        let found = recall(&self.memory, move |memory| memory.last_run(&name)).await;
        found.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::error!(
                schedule,
                error,
                "cannot tell which runs were missed while the scheduler was down"
            );
            None
        })
    }

    async fn act(&self, turns: Vec<Turn>, starts: &mut Starts) {
        for Turn { schedule, event } in turns {
            let name = schedule.name.clone();
            match event {
                Event::Due(run) => match run.fate {
                    Fate::Begin => starts.begin(schedule, run.begins).await,
                    Fate::Skip { until } => {
                        tracing::warn!(schedule = name, due = %run.due, %until, "a run is skipped: it is due in a blackout");
                        record(
                            &self.memory,
                            name,
                            run.begins,
                            Outcome::SkippedInBlackout { until },
                        )
                        .await;
                    }
                },
                Event::Missed(missed) => {
                    let (first, last, runs) = (missed.first, missed.last, missed.runs);
                    tracing::warn!(schedule = name, %first, %last, runs, "runs were missed and are not caught up");
                    self.record_missed(name, missed).await;
                }
                Event::Dropped(run) => {
                    let (due, begins) = (run.due, run.begins);
                    tracing::warn!(schedule = name, %due, %begins, "a deferred run is given up: its schedule was replaced");
                    self.record_missed(name, super::Missed::and(None, due)).await;
                }
                Event::SetBack { from } => {
                    tracing::warn!(schedule = name, was = %from, "the clock was set back; runs begin again from the present");
                }
            }
        }
    }

    async fn record_missed(&self, schedule: String, missed: super::Missed) {
        let name = schedule.clone();
        let recorded = recall(&self.memory, move |memory| memory.missed(&name, &missed)).await;
        if let Err(error) = recorded {
            tracing::error!(
                schedule,
                error = chain(&error),
                "missed runs could not be recorded"
            );
        }
    }
}

/// Records what became of a run; a failure is said and stops nothing.
async fn record(memory: &Arc<dyn Memory>, schedule: String, due: Timestamp, outcome: Outcome) {
    let name = schedule.clone();
    let recorded = recall(memory, move |memory| memory.ran(&name, due, &outcome)).await;
    if let Err(error) = recorded {
        tracing::error!(schedule, %due, error = chain(&error), "a run could not be recorded");
    }
}

/// Memory blocks, and is asked on a thread that may.
async fn recall<T: Send + 'static>(
    memory: &Arc<dyn Memory>,
    ask: impl FnOnce(&dyn Memory) -> Result<T, MemoryError> + Send + 'static,
) -> Result<T, MemoryError> {
    let memory = Arc::clone(memory);
    tokio::task::spawn_blocking(move || ask(&*memory))
        .await
        .unwrap_or_else(|broken| Err(MemoryError(broken.into())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
