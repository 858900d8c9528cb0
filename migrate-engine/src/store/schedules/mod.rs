//! The records of schedules: until when the runs of each are settled, and what became of them.
//!
//! Whether a run was settled does not hang on the history, of which the oldest is removed.

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp, Unit};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// How long runs stay on record: a year, and the month in which somebody looks back at it.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What became of one run of a schedule, or of several that were missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRunRow {
    /// The schedule.
    pub schedule: String,
    /// When it had to begin; of missed runs the last.
    pub at: Timestamp,
    /// What made it begin.
    pub begun_by: BegunBy,
    /// What it came to, in one word of the schema.
    pub outcome: String,
    /// The whole of it, in JSON.
    pub detail: String,
    /// When that was recorded.
    pub recorded_at: Timestamp,
}

/// What makes a run begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BegunBy {
    /// Its time.
    Calendar,
    /// Somebody who asked for it. It settles nothing of what the calendar wants.
    Person,
}

/// Which runs are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunsWanted {
    /// Those that were begun or skipped.
    Taken,
    /// Those that were missed.
    Missed,
}

impl BegunBy {
    fn word(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Person => "person",
        }
    }
}

impl Store {
    /// Records that these schedules are there from now on, and no others. Those that were there keep until when they are
    /// settled. Repeating it is harmless.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn know_schedules(&self, names: &[String], now: Timestamp) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let names_json = serde_json::to_string(names).expect("names are strings");
        tx.execute(
            "DELETE FROM schedules WHERE name NOT IN (SELECT value FROM json_each(?1))",
            [&names_json],
        )?;
        tx.execute(
            "INSERT INTO schedules (name, settled_until) SELECT value, ?2 FROM json_each(?1) WHERE true
             ON CONFLICT (name) DO NOTHING",
            params![names_json, text(now)],
        )?;
        Ok(tx.commit()?)
    }

    /// Records that a schedule goes on from now, whatever was settled of it. One that is not known stays so.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn renew_schedule(&self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE schedules SET settled_until = ?2 WHERE name = ?1";
        self.conn.lock().execute(sql, [name, &text(now)])?;
        Ok(())
    }

    /// Until when the runs of a schedule are settled; nothing where it is not known.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn schedule_settled_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let conn = self.conn.lock();
        let sql = "SELECT settled_until FROM schedules WHERE name = ?1";
        Ok(conn.query_row(sql, [name], |row| instant(row, 0)).optional()?)
    }

    /// Records what became of a run. What the calendar wanted until then is settled by it. Runs of more than 400 days ago
    /// are removed.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn record_schedule_run(&self, run: &ScheduleRunRow) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "INSERT INTO schedule_runs (schedule, at, begun_by, outcome, detail, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                run.schedule,
                text(run.at),
                run.begun_by.word(),
                run.outcome,
                run.detail,
                text(run.recorded_at)
            ],
        )?;
        if run.begun_by == BegunBy::Calendar {
            // A start that takes long is recorded after later runs were skipped.
            tx.execute(
                "UPDATE schedules SET settled_until = max(settled_until, ?2) WHERE name = ?1",
                params![run.schedule, text(run.at)],
            )?;
        }
        let oldest = run.recorded_at.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        tx.execute("DELETE FROM schedule_runs WHERE at < ?1", [text(oldest)])?;
        Ok(tx.commit()?)
    }

    /// What became of a schedule's runs, at most so many, the latest first.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn schedule_runs(
        &self,
        name: &str,
        wanted: RunsWanted,
        most: u32,
    ) -> Result<Vec<ScheduleRunRow>, StoreError> {
        let conn = self.conn.lock();
        let mut query = conn.prepare(
            "SELECT schedule, at, begun_by, outcome, detail, recorded_at FROM schedule_runs
             WHERE schedule = ?1 AND (outcome = 'missed') = ?2 ORDER BY at DESC, id DESC LIMIT ?3",
        )?;
        let rows = query.query_map(params![name, wanted == RunsWanted::Missed, most], |row| {
            Ok(ScheduleRunRow {
                schedule: row.get(0)?,
                at: instant(row, 1)?,
                begun_by: match &*row.get::<_, String>(2)? {
                    "person" => BegunBy::Person,
                    _ => BegunBy::Calendar,
                },
                outcome: row.get(3)?,
                detail: row.get(4)?,
                recorded_at: instant(row, 5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// To the second, so that texts sort as instants do.
fn text(instant: Timestamp) -> String {
    let rounding = jiff::TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Floor);
    instant.round(rounding).unwrap_or(instant).to_string()
}

fn instant(row: &Row<'_>, column: usize) -> Result<Timestamp, rusqlite::Error> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}
