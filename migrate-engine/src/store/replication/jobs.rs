//! The jobs: asked for, and looked at.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::super::{Store, StoreError};
use super::contexts::find_or_make;
use crate::model::{JobStatus, ReplicationType};

/// A replication that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewJob {
    /// The machine's name.
    pub vm_name: String,
    /// Its vCenter.
    pub vcenter_host: String,
    /// Its id there.
    pub vm_id: String,
    /// Where it is there.
    pub vm_path: String,
    /// As it was discovered, in JSON.
    pub specification: String,
    /// What was asked for, in JSON, without secrets.
    pub request: String,
    /// The type, where one was asked for.
    pub replication_type: Option<ReplicationType>,
    /// Names the request, so that a repetition is not done twice.
    pub idempotency_key: Option<String>,
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// There is a new job.
    New(JobRow),
    /// The same request was made before: this is its job.
    Again(JobRow),
    /// Another request was made with this key.
    KeyReused {
        /// Its job.
        job: String,
    },
    /// The machine is being replicated already.
    Busy {
        /// By this job.
        job: String,
    },
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// `job-YYYYMMDD-HHMMSS`, in UTC.
    pub id: String,
    /// The machine.
    pub context: i64,
    /// What was asked for, in JSON.
    pub request: String,
    /// What it begins from.
    pub replication_type: ReplicationType,
    /// How it stands.
    pub status: JobStatus,
    /// The word for its phase.
    pub phase: String,
    /// Whether somebody wants it stopped.
    pub cancel_requested: bool,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// The same for programs.
    pub error_code: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// When it was asked for.
    pub created_at: String,
    /// When it was begun first.
    pub started_at: Option<String>,
    /// When something last changed.
    pub updated_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// Which jobs are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// In this state only.
    pub status: Option<JobStatus>,
    /// Of this machine only.
    pub context: Option<i64>,
    /// Older than this one.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}

const COLUMNS: &str = "id, vm_context_id, request, replication_type, status, phase, cancel_requested, attempts, error, \
                       error_code, hint, notes, created_at, started_at, updated_at, completed_at";

impl Store {
    /// Asks for a replication. The id is that of the second, or of the next one that no job has.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] where another machine of this name is known; where the record cannot be made durable.
    pub fn submit(&self, job: &NewJob) -> Result<Submission, StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(key) = &job.idempotency_key
            && let Some((request, id)) = known_key(&tx, key)?
        {
            return Ok(match request == job.request {
                true => Submission::Again(get(&tx, &id)?.ok_or(StoreError::Lost { job: id })?),
                false => Submission::KeyReused { job: id },
            });
        }
        let context = find_or_make(&tx, job)?;
        let live =
            "SELECT id FROM replication_jobs WHERE vm_context_id = ?1 AND status IN ('pending', 'running')";
        if let Some(id) = tx.query_row(live, [context], |r| r.get(0)).optional()? {
            return Ok(Submission::Busy { job: id });
        }
        let kind = match job.replication_type {
            Some(kind) => kind,
            None => usual_type(&tx, context)?,
        };
        let now = Timestamp::now();
        let id = free_id(&tx, now)?;
        tx.execute(
            "INSERT INTO replication_jobs (id, vm_context_id, request, replication_type, status, phase, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'pending', 'Initialize', ?5, ?5)",
            params![id, context, job.request, kind.as_str(), now.to_string()],
        )?;
        tx.execute(
            "UPDATE vm_replication_contexts SET current_status = 'replicating', total_jobs = total_jobs + 1, last_job_id = ?2,
                 updated_at = ?3
             WHERE id = ?1",
            params![context, id, now.to_string()],
        )?;
        if let Some(key) = &job.idempotency_key {
            tx.execute(
                "INSERT INTO idempotency_keys (key, request, job_id, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![key, job.request, id, now.to_string()],
            )?;
        }
        let made = get(&tx, &id)?.ok_or(StoreError::Lost { job: id })?;
        tx.commit()?;
        Ok(Submission::New(made))
    }

    /// A job.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>, StoreError> {
        get(&self.conn.lock(), id)
    }

    /// Jobs, the latest first.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRow>, StoreError> {
        let conn = self.conn.lock();
        let sql = format!(
            "SELECT {COLUMNS} FROM replication_jobs
             WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR vm_context_id = ?2) AND (?3 IS NULL OR id < ?3)
             ORDER BY id DESC LIMIT ?4"
        );
        let mut query = conn.prepare_cached(&sql)?;
        let status = filter.status.map(JobStatus::as_str);
        let rows = query.query_map(params![status, filter.context, filter.before, filter.limit], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many jobs stand how; states that no job is in are left out.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn job_counts(&self) -> Result<Vec<(JobStatus, i64)>, StoreError> {
        let conn = self.conn.lock();
        let mut query =
            conn.prepare_cached("SELECT status, count(*) FROM replication_jobs GROUP BY status")?;
        let rows = query.query_map([], |r| {
            let status: String = r.get(0)?;
            Ok((status.parse().unwrap_or(JobStatus::Failed), r.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The jobs that are not at their end, the oldest first: those that were being worked on before those that wait.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn unfinished_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let conn = self.conn.lock();
        let sql = format!(
            "SELECT {COLUMNS} FROM replication_jobs WHERE status IN ('pending', 'running') ORDER BY status = 'pending', id"
        );
        let mut query = conn.prepare_cached(&sql)?;
        let rows = query.query_map([], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn known_key(conn: &Connection, key: &str) -> Result<Option<(String, String)>, StoreError> {
    let sql = "SELECT request, job_id FROM idempotency_keys WHERE key = ?1";
    Ok(conn
        .query_row(sql, [key], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?)
}

/// Incremental where a replication of the machine was completed.
fn usual_type(conn: &Connection, context: i64) -> Result<ReplicationType, StoreError> {
    let sql = "SELECT last_successful_job_id IS NOT NULL FROM vm_replication_contexts WHERE id = ?1";
    Ok(match conn.query_row(sql, [context], |r| r.get(0))? {
        true => ReplicationType::Incremental,
        false => ReplicationType::Initial,
    })
}

fn free_id(conn: &Connection, now: Timestamp) -> Result<String, StoreError> {
    let mut at = now;
    loop {
        let id = at.strftime("job-%Y%m%d-%H%M%S").to_string();
        let taken: bool = conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM replication_jobs WHERE id = ?1)",
            [&id],
            |r| r.get(0),
        )?;
        if !taken {
            return Ok(id);
        }
        at += SignedDuration::from_secs(1);
    }
}

pub(super) fn get(conn: &Connection, id: &str) -> Result<Option<JobRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM replication_jobs WHERE id = ?1");
    Ok(conn.query_row(&sql, [id], row).optional()?)
}

fn row(r: &Row<'_>) -> rusqlite::Result<JobRow> {
    let kind: String = r.get(3)?;
    let status: String = r.get(4)?;
    let notes: String = r.get(11)?;
    Ok(JobRow {
        id: r.get(0)?,
        context: r.get(1)?,
        request: r.get(2)?,
        // The schema lets no other word in.
        replication_type: kind.parse().unwrap_or(ReplicationType::Initial),
        status: status.parse().unwrap_or(JobStatus::Failed),
        phase: r.get(5)?,
        cancel_requested: r.get(6)?,
        attempts: r.get(7)?,
        error: r.get(8)?,
        error_code: r.get(9)?,
        hint: r.get(10)?,
        notes: serde_json::from_str(&notes).unwrap_or_default(),
        created_at: r.get(12)?,
        started_at: r.get(13)?,
        updated_at: r.get(14)?,
        completed_at: r.get(15)?,
    })
}
