//! What the tests put in the place of the clock, the memory and the starter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{
    BegunBy, Clock, History, Memory, MemoryError, Missed, Outcome, Past, Plan, Schedule, Selection, Starter,
    VmFate, VmStart, Zone,
};

pub(super) fn berlin() -> Zone {
    "Europe/Berlin".parse().unwrap()
}

/// An instant by what clocks show in Berlin.
pub(super) fn at(civil: &str) -> Timestamp {
    berlin().instant(civil.parse().unwrap())
}

/// A schedule in Berlin; `more` are further keys.
pub(super) fn schedule(name: &str, calendar: &str, more: &str) -> Schedule {
    let text = format!(
        "[[schedule]]\nname = '{name}'\ncalendar = '{calendar}'\nzone = 'Europe/Berlin'\n{more}\n\
         what = [{{ vcenter_host = 'vc', vms = ['{name}-vm'] }}]"
    );
    Plan::from_toml(&text).unwrap().schedules.remove(0)
}

/// A wall clock that goes with tokio's paused time, and can be set.
pub(super) struct FakeClock {
    begin: Instant,
    shown: Mutex<Timestamp>,
}

impl FakeClock {
    pub(super) fn new(civil: &str) -> Arc<Self> {
        Arc::new(Self {
            begin: Instant::now(),
            shown: Mutex::new(at(civil)),
        })
    }

    /// Sets it forward, or back.
    pub(super) fn jump(&self, by: SignedDuration) {
        *self.shown.lock() += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.shown.lock() + self.begin.elapsed()
    }
}

/// Remembers in memory.
#[derive(Default)]
pub(super) struct FakeMemory {
    pub(super) last_runs: Mutex<BTreeMap<String, Timestamp>>,
    pub(super) runs: Mutex<Vec<(String, Timestamp, Outcome)>>,
    /// Those that a person began.
    pub(super) by_hand: Mutex<Vec<(String, Timestamp, Outcome)>>,
    pub(super) missed: Mutex<Vec<(String, Missed)>>,
    pub(super) is_broken: bool,
}

impl FakeMemory {
    fn check(&self) -> Result<(), MemoryError> {
        match self.is_broken {
            true => Err(MemoryError("the disk is full".into())),
            false => Ok(()),
        }
    }

    /// What clocks in Berlin showed at the runs of a schedule that were begun.
    pub(super) fn begun(&self, schedule: &str) -> Vec<String> {
        let runs = self.runs.lock();
        runs.iter()
            .filter(|(name, _, outcome)| name == schedule && matches!(outcome, Outcome::Begun { .. }))
            .map(|(_, due, _)| berlin().civil(*due).to_string())
            .collect()
    }
}

impl Memory for FakeMemory {
    fn know(&self, schedules: &[String], now: Timestamp) -> Result<(), MemoryError> {
        self.check()?;
        let mut last_runs = self.last_runs.lock();
        last_runs.retain(|name, _| schedules.contains(name));
        for name in schedules {
            last_runs.entry(name.clone()).or_insert(now);
        }
        Ok(())
    }

    fn renew(&self, schedule: &str, now: Timestamp) -> Result<(), MemoryError> {
        self.check()?;
        self.last_runs.lock().insert(schedule.to_owned(), now);
        Ok(())
    }

    fn last_run(&self, schedule: &str) -> Result<Option<Timestamp>, MemoryError> {
        self.check()?;
        Ok(self.last_runs.lock().get(schedule).copied())
    }

    fn ran(&self, schedule: &str, due: Timestamp, by: BegunBy, outcome: &Outcome) -> Result<(), MemoryError> {
        self.check()?;
        let runs = match by {
            BegunBy::Calendar => &self.runs,
            BegunBy::Person => &self.by_hand,
        };
        runs.lock().push((schedule.to_owned(), due, outcome.clone()));
        Ok(())
    }

    fn missed(&self, schedule: &str, missed: &Missed) -> Result<(), MemoryError> {
        self.check()?;
        self.missed.lock().push((schedule.to_owned(), *missed));
        Ok(())
    }

    fn history(&self, schedule: &str, _most: u32) -> Result<History, MemoryError> {
        self.check()?;
        let past = |runs: &Mutex<Vec<(String, Timestamp, Outcome)>>, begun_by| {
            let runs = runs.lock();
            let of_it = runs.iter().filter(|(name, ..)| name == schedule);
            let past = of_it.map(|(_, at, outcome)| Past {
                at: *at,
                begun_by,
                outcome: outcome.clone(),
            });
            past.collect::<Vec<_>>()
        };
        let missed = self.missed.lock();
        let of_it = missed.iter().filter(|(name, _)| name == schedule);
        Ok(History {
            taken: [
                past(&self.runs, BegunBy::Calendar),
                past(&self.by_hand, BegunBy::Person),
            ]
            .concat(),
            missed: of_it.map(|(_, missed)| *missed).collect(),
        })
    }
}

/// Starts nothing, and counts; fails, hangs or panics for some schedules.
#[derive(Default)]
pub(super) struct FakeStarter {
    pub(super) started: Mutex<Vec<String>>,
    pub(super) failing: BTreeSet<&'static str>,
    pub(super) panicking: BTreeSet<&'static str>,
    pub(super) hanging: BTreeSet<&'static str>,
    pub(super) let_go: Notify,
}

#[async_trait]
impl Starter for FakeStarter {
    async fn start(&self, schedule: &str, selection: &Selection) -> Vec<VmStart> {
        let nth = {
            let mut started = self.started.lock();
            started.push(schedule.to_owned());
            started.len()
        };
        if self.hanging.contains(schedule) {
            self.let_go.notified().await;
        }
        assert!(!self.panicking.contains(schedule), "a fault of the starter");
        let vm = selection.vms[0].clone();
        let fate = match self.failing.contains(schedule) {
            true => VmFate::Refused {
                why: format!("{vm} was not found"),
            },
            false => VmFate::Started {
                job: format!("job-{nth}"),
            },
        };
        vec![VmStart { vm, fate }]
    }
}
