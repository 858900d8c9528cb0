//! What is due next, and what was missed: pure transitions, to which the scheduler gives the time.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Fate, Missed, Run, Schedule, Standing};

/// How late a run may begin while the process lives. A sleep of a minute may end that much late.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// How far back the clock may be set without a run being repeated. More than that was a wrong clock, after which a schedule
/// must not stand still until the clock is there again.
const SET_BACK: SignedDuration = SignedDuration::from_hours(1);

/// Where looking at what lies in the past ends.
const MOST_LOOKED_AT: u32 = 10_000;

/// The schedules, by name, and where each stands.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    /// What was due until then is settled: begun, skipped or said to be missed.
    settled: Timestamp,
    /// The first run after it.
    next: Option<Run>,
}

/// What happened to a schedule by the passing of time or by a change of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) schedule: Schedule,
    pub(super) event: Event,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A run begins now, or is skipped.
    Due(Run),
    /// Runs were missed.
    Missed(Missed),
    /// A deferred run is given up, because the calendar that it is from was replaced.
    Dropped(Run),
    /// The clock was set back behind what was settled; the calendar goes on from the present.
    SetBack { from: Timestamp },
}

impl Agenda {
    /// Takes up the schedules when the process begins, each with what its last run was. Whatever was due since is missed.
    pub(super) fn open(schedules: Vec<(Schedule, Option<Timestamp>)>, now: Timestamp) -> (Self, Vec<Turn>) {
        let (mut agenda, mut turns) = (Self::default(), Vec::new());
        for (schedule, last_run) in schedules {
            let mut entry = Entry::new(schedule, last_run.unwrap_or(now));
            turns.extend(entry.advance(now, SignedDuration::ZERO));
            agenda.entries.insert(entry.schedule.name.clone(), entry);
        }
        (agenda, turns)
    }

    /// What time brought until `now`.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Turn> {
        let entries = self.entries.values_mut();
        entries.flat_map(|entry| entry.advance(now, PATIENCE)).collect()
    }

    /// Takes these schedules instead. One that stays keeps its place; one that is new begins now, and has missed nothing.
    pub(super) fn replace(&mut self, schedules: Vec<Schedule>, now: Timestamp) -> Vec<Turn> {
        let mut before = std::mem::take(&mut self.entries);
        let mut turns = Vec::new();
        for schedule in schedules {
            let entry = match before.remove(&schedule.name) {
                Some(mut entry) => {
                    turns.extend(entry.replace(schedule, now));
                    entry
                }
                None => Entry::new(schedule, now),
            };
            self.entries.insert(entry.schedule.name.clone(), entry);
        }
        let gone = before.into_values();
        turns.extend(gone.filter_map(|entry| entry.deferred(now).map(|run| entry.turn(Event::Dropped(run)))));
        turns
    }

    /// Each schedule, by name, and its next run.
    pub(super) fn standing(&self) -> Vec<Standing> {
        let entries = self.entries.values();
        entries
            .map(|entry| Standing {
                schedule: entry.schedule.clone(),
                next: entry.next,
            })
            .collect()
    }

    /// When time brings something next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let runs = self.entries.values().filter_map(|entry| entry.next);
        runs.map(|run| run.begins).min()
    }
}

impl Entry {
    fn new(schedule: Schedule, settled: Timestamp) -> Self {
        Self {
            next: schedule.next_after(settled),
            schedule,
            settled,
        }
    }

    fn settle(&mut self, until: Timestamp) {
        self.settled = until;
        self.next = self.schedule.next_after(until);
    }

    fn turn(&self, event: Event) -> Turn {
        Turn {
            schedule: self.schedule.clone(),
            event,
        }
    }

    /// Of what had to begin until now, the last begins if it is not too late; the rest was missed.
    fn advance(&mut self, now: Timestamp, patience: SignedDuration) -> Vec<Turn> {
        if self.settled.duration_since(now) > SET_BACK {
            let from = self.settled;
            self.settle(now);
            return vec![self.turn(Event::SetBack { from })];
        }
        let (mut missed, mut last, mut looked_at) = (None, None, 0);
        while let Some(run) = self.next.filter(|run| run.begins <= now) {
            self.settle(run.begins);
            missed = with(missed, last.replace(run));
            looked_at += 1;
            if looked_at == MOST_LOOKED_AT {
                self.settle(now);
            }
        }
        let due = last.filter(|run| now.duration_since(run.begins) <= patience);
        if due.is_none() {
            missed = with(missed, last);
        }
        let missed = missed.map(Event::Missed);
        let events = missed.into_iter().chain(due.map(Event::Due));
        events.map(|event| self.turn(event)).collect()
    }

    /// The run that waits for the end of a blackout.
    fn deferred(&self, now: Timestamp) -> Option<Run> {
        self.next.filter(|run| run.due <= now && run.begins > now)
    }

    /// A run that waits keeps waiting, by the new blackouts, unless the calendar is another.
    fn replace(&mut self, schedule: Schedule, now: Timestamp) -> Option<Turn> {
        let waits = self.deferred(now);
        let same_calendar =
            (&self.schedule.calendar, &self.schedule.zone) == (&schedule.calendar, &schedule.zone);
        self.schedule = schedule;
        match waits {
            Some(run) if same_calendar => self.next = Some(self.schedule.run(run.due, now)),
            None if same_calendar => self.settle(self.settled),
            dropped => {
                self.settle(now);
                return dropped.map(|run| self.turn(Event::Dropped(run)));
            }
        }
        None
    }
}

/// A run that would have been skipped was not missed.
fn with(missed: Option<Missed>, run: Option<Run>) -> Option<Missed> {
    match run {
        Some(run) if run.fate == Fate::Begin => Some(Missed::and(missed, run.begins)),
        _ => missed,
    }
}
