//! Working on jobs: taken up, ended, wanted stopped, done again. What an earlier attempt still wants to write is refused.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::{Store, StoreError};
use super::jobs::{JobRow, get};
use crate::model::JobStatus;

/// The right to work on a job: this attempt's, until the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The job.
    pub job: String,
    /// The attempt.
    pub attempt: u32,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// Every disk is in its volume.
    Completed,
    /// It is not.
    Failed {
        /// Why.
        error: String,
        /// The same for programs.
        code: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Somebody stopped it.
    Cancelled,
}

impl Turn {
    pub(super) fn must_be_ours(&self, changed: usize) -> Result<(), StoreError> {
        match changed {
            0 => Err(StoreError::Superseded {
                job: self.job.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether it is still our turn.
    pub(super) fn check(&self, conn: &Connection) -> Result<(), StoreError> {
        let sql =
            "SELECT count(*) FROM replication_jobs WHERE id = ?1 AND attempts = ?2 AND status = 'running'";
        let count: usize = conn.query_row(sql, params![self.job, self.attempt], |r| r.get(0))?;
        self.must_be_ours(count)
    }
}

impl Store {
    /// Takes a job up that waits, or that was being worked on by somebody who died. `None` where it is at its end.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn begin_attempt(&self, id: &str) -> Result<Option<Turn>, StoreError> {
        let now = Timestamp::now().to_string();
        let sql = "UPDATE replication_jobs SET status = 'running', attempts = attempts + 1, error = NULL, error_code = NULL,
                       hint = NULL, started_at = coalesce(started_at, ?2), updated_at = ?2
                   WHERE id = ?1 AND status IN ('pending', 'running') RETURNING attempts";
        let conn = self.conn.lock();
        let attempt = conn.query_row(sql, [id, &now], |r| r.get(0)).optional()?;
        Ok(attempt.map(|attempt| Turn {
            job: id.to_owned(),
            attempt,
        }))
    }

    /// Records why an attempt did not get to its end, while the job goes on.
    ///
    /// # Errors
    /// [`StoreError::Superseded`]; where the record cannot be made durable.
    pub fn note_failure(&self, turn: &Turn, error: &str) -> Result<(), StoreError> {
        let changed = self.conn.lock().execute(
            "UPDATE replication_jobs SET error = ?3, updated_at = ?4
             WHERE id = ?1 AND attempts = ?2 AND status = 'running'",
            params![turn.job, turn.attempt, error, Timestamp::now().to_string()],
        )?;
        turn.must_be_ours(changed)
    }

    /// Adds a sentence that a person should know, once.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn add_note(&self, turn: &Turn, note: &str) -> Result<(), StoreError> {
        self.conn.lock().execute(
            "UPDATE replication_jobs SET notes = json_insert(notes, '$[#]', ?2)
             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM json_each(notes) WHERE value = ?2)",
            params![turn.job, note],
        )?;
        Ok(())
    }

    /// Wants a job stopped: one that waits has ended then, one that is worked on ends by the one who does that. The job as
    /// it is then; `None` where there is none.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn request_cancel(&self, id: &str) -> Result<Option<JobRow>, StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = Timestamp::now().to_string();
        tx.execute(
            "UPDATE replication_jobs SET cancel_requested = 1, updated_at = ?2
             WHERE id = ?1 AND status IN ('pending', 'running') AND cancel_requested = 0",
            [id, &now],
        )?;
        let waited: Option<i64> = tx
            .query_row(
                "UPDATE replication_jobs SET status = 'cancelled', completed_at = ?2
                 WHERE id = ?1 AND status = 'pending' AND attempts = 0 RETURNING vm_context_id",
                [id, &now],
                |r| r.get(0),
            )
            .optional()?;
        if let Some(context) = waited {
            count_end(&tx, context, id, &JobEnd::Cancelled, &now)?;
        }
        let job = get(&tx, id)?;
        tx.commit()?;
        Ok(job)
    }

    /// Ends a job.
    ///
    /// # Errors
    /// [`StoreError::Superseded`]; where the record cannot be made durable.
    pub fn end_job(&self, turn: &Turn, end: &JobEnd) -> Result<(), StoreError> {
        let (status, error, code, hint) = match end {
            JobEnd::Completed => (JobStatus::Completed, None, None, None),
            JobEnd::Cancelled => (JobStatus::Cancelled, None, None, None),
            JobEnd::Failed { error, code, hint } => {
                (JobStatus::Failed, Some(error), Some(code), hint.as_ref())
            }
        };
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        let now = Timestamp::now().to_string();
        let context: Option<i64> = tx
            .query_row(
                "UPDATE replication_jobs SET status = ?3, error = ?4, error_code = ?5, hint = ?6, updated_at = ?7, completed_at = ?7,
                     phase = CASE ?3 WHEN 'completed' THEN 'Completed' ELSE phase END
                 WHERE id = ?1 AND attempts = ?2 AND status = 'running' RETURNING vm_context_id",
                params![turn.job, turn.attempt, status.as_str(), error, code, hint, now],
                |r| r.get(0),
            )
            .optional()?;
        let context = context.ok_or_else(|| StoreError::Superseded {
            job: turn.job.clone(),
        })?;
        count_end(&tx, context, &turn.job, end, &now)?;
        Ok(tx.commit()?)
    }

    /// A job that failed waits for its turn again. `None` where there is none, and the job as it is where it did not fail.
    ///
    /// # Errors
    /// Where the record cannot be made durable, or another job of the machine is under way.
    pub fn retry_job(&self, id: &str) -> Result<Option<JobRow>, StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = Timestamp::now().to_string();
        let retried: Option<i64> = tx
            .query_row(
                "UPDATE replication_jobs SET status = 'pending', cancel_requested = 0, completed_at = NULL, updated_at = ?2
                 WHERE id = ?1 AND status IN ('failed', 'cancelled') RETURNING vm_context_id",
                [id, &now],
                |r| r.get(0),
            )
            .optional()?;
        if let Some(context) = retried {
            tx.execute(
                "UPDATE vm_replication_contexts SET current_status = 'replicating', updated_at = ?2 WHERE id = ?1",
                params![context, now],
            )?;
        }
        let job = get(&tx, id)?;
        tx.commit()?;
        Ok(job)
    }

    /// Declares that the machine of a completed job is to be cut over.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn mark_cutover_ready(&self, context: i64) -> Result<(), StoreError> {
        self.conn.lock().execute(
            "UPDATE vm_replication_contexts SET current_status = 'cutover_ready', updated_at = ?2 WHERE id = ?1",
            params![context, Timestamp::now().to_string()],
        )?;
        Ok(())
    }
}

fn count_end(conn: &Connection, context: i64, id: &str, end: &JobEnd, now: &str) -> Result<(), StoreError> {
    let counted = match end {
        JobEnd::Completed => {
            "successful_jobs = successful_jobs + 1, current_status = 'replicated', last_successful_job_id = ?2"
        }
        JobEnd::Failed { .. } => "failed_jobs = failed_jobs + 1, current_status = 'failed', last_job_id = ?2",
        JobEnd::Cancelled => {
            "cancelled_jobs = cancelled_jobs + 1, last_job_id = ?2,
             current_status = CASE WHEN last_successful_job_id IS NULL THEN 'discovered' ELSE 'replicated' END"
        }
    };
    let sql = format!("UPDATE vm_replication_contexts SET {counted}, updated_at = ?3 WHERE id = ?1");
    conn.execute(&sql, params![context, id, now])?;
    Ok(())
}
