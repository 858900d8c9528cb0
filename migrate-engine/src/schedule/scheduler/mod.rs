//! The loop that waits for what is due, has it started, and records what became of it.

mod remember;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Event, Turn};
use super::clock::nap;
use super::timetable::{Ask, RunNowError, Timetable};
use super::{BegunBy, Clock, Fate, Memory, Missed, Outcome, Schedule, Standing, Starter};
use remember::Remembering;
use start::Starts;

/// How many requests of people may wait for the moment that the loop takes to come round.
const MOST_ASKS: usize = 16;

/// Begins what is due.
///
/// - Schedules that are due at one time run beside one another. A run's selections are started one after another.
/// - A run that is due while the start of its schedule's earlier run is still under way is skipped, and that is said.
/// - What was due while the process was down, or more than five minutes ago, is recorded as missed and not caught up.
/// - A clock that is set back by up to an hour repeats no run; by more, the calendar goes on from the present.
/// - Crash: a run is recorded once all its selections are started. Where the process dies before, the run counts as missed
///   at the next start, although jobs of it may have begun; it is not begun twice.
pub struct Scheduler {
    core: Core,
    asks: mpsc::Receiver<Ask>,
    timetable: Timetable,
}

struct Core {
    starter: Arc<dyn Starter>,
    memory: Remembering,
    clock: Arc<dyn Clock>,
    standing: watch::Sender<Option<Vec<Standing>>>,
}

impl Scheduler {
    /// A scheduler that has begun nothing.
    #[must_use]
    pub fn new(starter: Arc<dyn Starter>, memory: Arc<dyn Memory>, clock: Arc<dyn Clock>) -> Self {
        let (standing, stands) = watch::channel(None);
        let (ask, asks) = mpsc::channel(MOST_ASKS);
        Self {
            core: Core {
                starter,
                memory: Remembering(Arc::clone(&memory)),
                clock,
                standing,
            },
            asks,
            timetable: Timetable::new(stands, ask, memory),
        }
    }

    /// Where people look at it, and start a schedule by hand.
    #[must_use]
    pub fn timetable(&self) -> Timetable {
        self.timetable.clone()
    }

    /// Runs until it is stopped, and then until the starts that are under way have come to their end: a start that was sent
    /// is recorded. Whoever cannot wait drops it, which breaks them off.
    ///
    /// Schedules sent through the channel replace the ones before. One whose calendar or zone changed goes on from the
    /// present; any other keeps its place, also a run that waits for the end of a blackout. A new one begins with the
    /// present. Of two schedules of one name the last is taken; [`super::Plan`] has none such.
    pub async fn run(self, mut schedules: watch::Receiver<Vec<Schedule>>, stopping: CancellationToken) {
        let Self { core, mut asks, .. } = self;
        let mut known = schedules.borrow_and_update().clone();
        let mut starts = Starts::new(Arc::clone(&core.starter), core.memory.clone());
        let mut agenda = core.open(&known, &mut starts).await;
        let mut sender_lives = true;
        while !stopping.is_cancelled() {
            let turns = agenda.advance(core.clock.now());
            core.act(turns, &mut starts).await;
            core.show(&agenda);
            tokio::select! {
                () = stopping.cancelled() => {}
                changed = schedules.changed(), if sender_lives => match changed {
                    Ok(()) => {
                        let new = schedules.borrow_and_update().clone();
                        core.replace(&mut agenda, &known, &new, &mut starts).await;
                        known = new;
                    }
                    Err(_) => sender_lives = false,
                },
                Some(ask) = asks.recv() => core.begin_by_hand(ask, &known, &mut starts).await,
                ended = starts.one_ends() => starts.ended(ended).await,
                () = nap(&*core.clock, agenda.next()) => {}
            }
        }
        // Who asked and was not heard yet learns it now.
        drop(asks);
        starts.all_end().await;
    }
}

impl Core {
    async fn open(&self, schedules: &[Schedule], starts: &mut Starts) -> Agenda {
        self.memory.know(schedules, self.clock.now()).await;
        let mut known = Vec::new();
        for schedule in schedules {
            let last_run = self.memory.last_run(schedule.name.clone()).await;
            known.push((schedule.clone(), last_run));
        }
        let (agenda, turns) = Agenda::open(known, self.clock.now());
        self.act(turns, starts).await;
        agenda
    }

    async fn replace(&self, agenda: &mut Agenda, old: &[Schedule], new: &[Schedule], starts: &mut Starts) {
        tracing::info!(schedules = new.len(), "schedules were replaced");
        let now = self.clock.now();
        let turns = agenda.replace(new.to_vec(), now);
        self.act(turns, starts).await;
        self.memory.know(new, now).await;
        for schedule in new.iter().filter(|schedule| has_other_times(schedule, old)) {
            self.memory.renew(schedule.name.clone(), now).await;
        }
    }

    fn show(&self, agenda: &Agenda) {
        let stands = agenda.standing();
        self.standing.send_if_modified(|shown| {
            let is_new = shown.as_ref() != Some(&stands);
            if is_new {
                *shown = Some(stands);
            }
            is_new
        });
    }

    async fn begin_by_hand(&self, ask: Ask, known: &[Schedule], starts: &mut Starts) {
        match known.iter().find(|schedule| schedule.name == ask.schedule) {
            Some(schedule) => {
                let now = self.clock.now();
                starts.begin_by_hand(schedule.clone(), now, ask.answer).await;
            }
            None => {
                let schedule = ask.schedule;
                let _ = ask.answer.send(Err(RunNowError::NoSuchSchedule { schedule }));
            }
        }
    }

    async fn act(&self, turns: Vec<Turn>, starts: &mut Starts) {
        for Turn { schedule, event } in turns {
            let name = schedule.name.clone();
            match event {
                Event::Due(run) => match run.fate {
                    Fate::Begin => starts.begin(schedule, run.begins).await,
                    Fate::Skip { until } => {
                        tracing::warn!(schedule = name, due = %run.due, %until, "a run is skipped: it is due in a blackout");
                        let outcome = Outcome::SkippedInBlackout { until };
                        self.memory
                            .ran(name, run.begins, BegunBy::Calendar, outcome)
                            .await;
                    }
                },
                Event::Missed(missed) => {
                    let (first, last, runs) = (missed.first, missed.last, missed.runs);
                    tracing::warn!(schedule = name, %first, %last, runs, "runs were missed and are not caught up");
                    self.memory.missed(name, missed).await;
                }
                Event::Dropped(run) => {
                    let (due, begins) = (run.due, run.begins);
                    tracing::warn!(schedule = name, %due, %begins, "a deferred run is given up: its schedule was replaced");
                    self.memory.missed(name, Missed::and(None, due)).await;
                }
                Event::SetBack { from } => {
                    tracing::warn!(schedule = name, was = %from, "the clock was set back; runs begin again from the present");
                    self.memory.renew(name, self.clock.now()).await;
                }
            }
        }
    }
}

/// Whether it was there before, with another calendar or zone: what it missed by the new one was never due.
fn has_other_times(schedule: &Schedule, old: &[Schedule]) -> bool {
    let before = old.iter().find(|before| before.name == schedule.name);
    before.is_some_and(|before| (&before.calendar, &before.zone) != (&schedule.calendar, &schedule.zone))
}
