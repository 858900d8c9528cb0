//! The steps of a job: recorded before they are taken, and after.

use jiff::Timestamp;
use rusqlite::params;

use super::super::{Store, StoreError};
use super::attempts::Turn;
use crate::model::Step;

/// A step that was taken, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// In which attempt.
    pub attempt: u32,
    /// From 1 to 7.
    pub step: u8,
    /// The word for it.
    pub name: String,
    /// When it began.
    pub began_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// `done`, `failed` or `cancelled`.
    pub outcome: Option<String>,
    /// What there is to say of it.
    pub detail: Option<String>,
}

impl Store {
    /// Records that a step begins.
    ///
    /// # Errors
    /// [`StoreError::Superseded`]; where the record cannot be made durable: then the step is not to be taken.
    pub fn begin_step(&self, turn: &Turn, step: Step) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        let now = Timestamp::now().to_string();
        let changed = tx.execute(
            "UPDATE replication_jobs SET phase = ?3, updated_at = ?4
             WHERE id = ?1 AND attempts = ?2 AND status = 'running'",
            params![turn.job, turn.attempt, step.phase().as_str(), now],
        )?;
        turn.must_be_ours(changed)?;
        tx.execute(
            "INSERT OR REPLACE INTO replication_steps (job_id, attempt, step, name, began_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![turn.job, turn.attempt, step.number(), step.as_str(), now],
        )?;
        Ok(tx.commit()?)
    }

    /// The step that each job which is worked on is at, with how many jobs are at it.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn steps_under_way(&self) -> Result<Vec<(u8, u64)>, StoreError> {
        let conn = self.conn.lock();
        let mut query = conn.prepare_cached(
            "SELECT s.step, count(*) FROM replication_steps s
             JOIN replication_jobs j ON j.id = s.job_id AND j.attempts = s.attempt
             WHERE j.status = 'running' AND s.ended_at IS NULL GROUP BY s.step",
        )?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many jobs that are worked on may have a frozen machine at a source, and when the first of these was frozen: from its
    /// first freezing to the end of the job, over all attempts.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn frozen(&self) -> Result<(u64, Option<Timestamp>), StoreError> {
        let sql = "SELECT count(DISTINCT j.id), min(s.began_at) FROM replication_steps s
                   JOIN replication_jobs j ON j.id = s.job_id WHERE j.status = 'running' AND s.step >= ?1";
        let conn = self.conn.lock();
        let (count, since): (u64, Option<String>) =
            conn.query_row(sql, [Step::TransferStarted.number()], |r| {
                Ok((r.get(0)?, r.get(1)?))
            })?;
        Ok((count, since.and_then(|text| text.parse().ok())))
    }

    /// Records how a step ended: `done`, `failed` or `cancelled`.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn end_step(
        &self,
        turn: &Turn,
        step: Step,
        outcome: &'static str,
        detail: Option<&str>,
    ) -> Result<(), StoreError> {
        self.conn.lock().execute(
            "UPDATE replication_steps SET ended_at = ?4, outcome = ?5, detail = ?6
             WHERE job_id = ?1 AND attempt = ?2 AND step = ?3",
            params![
                turn.job,
                turn.attempt,
                step.number(),
                Timestamp::now().to_string(),
                outcome,
                detail
            ],
        )?;
        Ok(())
    }

    /// The steps of a job, in the order in which they were taken.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn steps(&self, job: &str) -> Result<Vec<StepRow>, StoreError> {
        let conn = self.conn.lock();
        let mut query = conn.prepare_cached(
            "SELECT attempt, step, name, began_at, ended_at, outcome, detail FROM replication_steps
             WHERE job_id = ?1 ORDER BY attempt, step",
        )?;
        let rows = query.query_map([job], |r| {
            Ok(StepRow {
                attempt: r.get(0)?,
                step: r.get(1)?,
                name: r.get(2)?,
                began_at: r.get(3)?,
                ended_at: r.get(4)?,
                outcome: r.get(5)?,
                detail: r.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
