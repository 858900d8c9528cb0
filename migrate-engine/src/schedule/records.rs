//! The memory of runs in the engine's own records.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BegunBy, History, Memory, MemoryError, Missed, Outcome, Past};
use crate::store::{RunsWanted, ScheduleRunRow, Store, StoreError};

/// Remembers in the engine's database. What was recorded survives power loss; runs of more than 400 days ago are removed.
#[derive(Clone)]
pub struct Records(Arc<Store>);

impl Records {
    /// In this database.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    fn runs<T: DeserializeOwned>(
        &self,
        schedule: &str,
        wanted: RunsWanted,
        most: u32,
    ) -> Result<Vec<(ScheduleRunRow, T)>, MemoryError> {
        let rows = self.0.schedule_runs(schedule, wanted, most)?;
        rows.into_iter()
            .map(|row| match serde_json::from_str(&row.detail) {
                Ok(detail) => Ok((row, detail)),
                Err(error) => Err(MemoryError(error.into())),
            })
            .collect()
    }
}

/// A record, which JSON can always say.
fn row(
    schedule: &str,
    at: Timestamp,
    begun_by: BegunBy,
    word: &str,
    detail: &impl Serialize,
) -> ScheduleRunRow {
    ScheduleRunRow {
        schedule: schedule.to_owned(),
        at,
        begun_by,
        outcome: word.to_owned(),
        detail: serde_json::to_string(detail).expect("runs have only strings and numbers"),
        recorded_at: Timestamp::now(),
    }
}

impl From<StoreError> for MemoryError {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl Memory for Records {
    fn know(&self, schedules: &[String], now: Timestamp) -> Result<(), MemoryError> {
        Ok(self.0.know_schedules(schedules, now)?)
    }

    fn renew(&self, schedule: &str, now: Timestamp) -> Result<(), MemoryError> {
        Ok(self.0.renew_schedule(schedule, now)?)
    }

    fn last_run(&self, schedule: &str) -> Result<Option<Timestamp>, MemoryError> {
        Ok(self.0.schedule_settled_until(schedule)?)
    }

    fn ran(&self, schedule: &str, due: Timestamp, by: BegunBy, outcome: &Outcome) -> Result<(), MemoryError> {
        let row = row(schedule, due, by, outcome.word(), outcome);
        Ok(self.0.record_schedule_run(&row)?)
    }

    fn missed(&self, schedule: &str, missed: &Missed) -> Result<(), MemoryError> {
        let row = row(schedule, missed.last, BegunBy::Calendar, "missed", missed);
        Ok(self.0.record_schedule_run(&row)?)
    }

    fn history(&self, schedule: &str, most: u32) -> Result<History, MemoryError> {
        let taken = self.runs(schedule, RunsWanted::Taken, most)?;
        let missed = self.runs(schedule, RunsWanted::Missed, most)?;
        Ok(History {
            taken: taken
                .into_iter()
                .map(|(row, outcome)| Past {
                    at: row.at,
                    begun_by: row.begun_by,
                    outcome,
                })
                .collect(),
            missed: missed.into_iter().map(|(_, missed)| missed).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::testing::{at, schedule};
    use crate::schedule::{Begun, VmFate, VmStart};

    #[test]
    fn each_outcome_is_read_back_as_it_was_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(Arc::new(Store::open(&dir.path().join("e.db")).unwrap()));
        let start = |vm: &str, fate| VmStart {
            vm: vm.to_owned(),
            fate,
        };
        let job = "job-20261130-023000".to_owned();
        let begun = Begun {
            selection: schedule("nightly", "02:30", "").what.remove(0),
            vms: vec![
                start("a", VmFate::Started { job: job.clone() }),
                start("b", VmFate::Busy { job }),
                start(
                    "c",
                    VmFate::Refused {
                        why: "\"c\" is gone".to_owned(),
                    },
                ),
            ],
        };
        let outcomes = [
            Outcome::Begun {
                selections: vec![begun],
            },
            Outcome::SkippedInBlackout {
                until: at("2026-11-30T18:00"),
            },
            Outcome::SkippedWhileStarting {
                earlier: at("2026-11-30T02:15"),
            },
        ];
        records
            .know(&["nightly".to_owned()], at("2026-11-29T02:30"))
            .unwrap();
        for (hour, outcome) in (2..).zip(&outcomes) {
            let due = at(&format!("2026-11-30T0{hour}:30"));
            records.ran("nightly", due, BegunBy::Calendar, outcome).unwrap();
        }
        assert_eq!(records.last_run("nightly").unwrap(), Some(at("2026-11-30T04:30")));
        let missed = Missed {
            first: at("2026-11-30T05:30"),
            last: at("2026-11-30T06:30"),
            runs: 2,
        };
        records.missed("nightly", &missed).unwrap();
        assert_eq!(records.last_run("nightly").unwrap(), Some(at("2026-11-30T06:30")));
        let history = records.history("nightly", 10).unwrap();
        let told: Vec<_> = history.taken.into_iter().rev().map(|past| past.outcome).collect();
        assert_eq!(told, outcomes);
        assert_eq!(history.missed, [missed]);
        let one = records.history("nightly", 1).unwrap();
        assert_eq!((one.taken.len(), one.missed.len()), (1, 1));
    }
}
