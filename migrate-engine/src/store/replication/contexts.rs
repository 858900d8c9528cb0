//! Machines that were replicated, or are to be: by name and vCenter.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{Store, StoreError};
use super::jobs::NewJob;

/// How a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextStatus {
    /// Nothing was done yet.
    Discovered,
    /// A replication is under way, or waits.
    Replicating,
    /// The last replication was completed.
    Replicated,
    /// The last replication was not.
    Failed,
    /// It is to be cut over: nothing is replicated any more unless asked for.
    CutoverReady,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRow {
    /// Its number here.
    pub id: i64,
    /// Its name.
    pub vm_name: String,
    /// Its vCenter.
    pub vcenter_host: String,
    /// Its id there.
    pub vm_id: String,
    /// Where it is there.
    pub vm_path: String,
    /// As it was discovered last, in JSON.
    pub specification: String,
    /// How it stands.
    pub status: ContextStatus,
    /// How many jobs there were.
    pub total_jobs: u64,
    /// How many were completed.
    pub successful_jobs: u64,
    /// How many failed.
    pub failed_jobs: u64,
    /// How many were cancelled.
    pub cancelled_jobs: u64,
    /// The last one.
    pub last_job: Option<String>,
    /// The last one that was completed.
    pub last_successful_job: Option<String>,
    /// When something last changed.
    pub updated_at: String,
}

const COLUMNS: &str = "id, vm_name, vcenter_host, vm_id, vm_path, specification, current_status, total_jobs, \
                       successful_jobs, failed_jobs, cancelled_jobs, last_job_id, last_successful_job_id, updated_at";

impl ContextStatus {
    const ALL: [Self; 5] = [
        Self::Discovered,
        Self::Replicating,
        Self::Replicated,
        Self::Failed,
        Self::CutoverReady,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Replicating => "replicating",
            Self::Replicated => "replicated",
            Self::Failed => "failed",
            Self::CutoverReady => "cutover_ready",
        }
    }
}

impl Store {
    /// The machines, by their names.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn contexts(&self) -> Result<Vec<ContextRow>, StoreError> {
        let conn = self.conn.lock();
        let sql = format!("SELECT {COLUMNS} FROM vm_replication_contexts ORDER BY vm_name, vcenter_host");
        let mut query = conn.prepare_cached(&sql)?;
        let rows = query.query_map([], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One machine.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn context(&self, id: i64) -> Result<Option<ContextRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM vm_replication_contexts WHERE id = ?1");
        Ok(self.conn.lock().query_row(&sql, [id], row).optional()?)
    }

    /// Keeps what a machine was discovered to be.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn describe(&self, context: i64, specification: &str) -> Result<(), StoreError> {
        self.conn.lock().execute(
            "UPDATE vm_replication_contexts SET specification = ?2, updated_at = ?3 WHERE id = ?1",
            params![context, specification, Timestamp::now().to_string()],
        )?;
        Ok(())
    }
}

/// The machine's number, made where there is none.
pub(super) fn find_or_make(conn: &Connection, job: &NewJob) -> Result<i64, StoreError> {
    let sql =
        "SELECT id, vm_id, vm_path FROM vm_replication_contexts WHERE vm_name = ?1 AND vcenter_host = ?2";
    let found: Option<(i64, String, String)> = conn
        .query_row(sql, [&job.vm_name, &job.vcenter_host], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .optional()?;
    let now = Timestamp::now().to_string();
    let Some((id, vm_id, vm_path)) = found else {
        conn.execute(
            "INSERT INTO vm_replication_contexts
             (vm_name, vcenter_host, vm_id, vm_path, specification, current_status, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'discovered', ?6, ?6)",
            params![
                job.vm_name,
                job.vcenter_host,
                job.vm_id,
                job.vm_path,
                job.specification,
                now
            ],
        )?;
        return Ok(conn.last_insert_rowid());
    };
    // The same machine may have been moved, or put back into the inventory: not both at once.
    if vm_id != job.vm_id && vm_path != job.vm_path {
        return Err(StoreError::NameTaken {
            vm_name: job.vm_name.clone(),
            vcenter_host: job.vcenter_host.clone(),
            vm_path,
            vm_id,
        });
    }
    conn.execute(
        "UPDATE vm_replication_contexts SET vm_id = ?2, vm_path = ?3, updated_at = ?4 WHERE id = ?1",
        params![id, job.vm_id, job.vm_path, now],
    )?;
    Ok(id)
}

fn row(r: &Row<'_>) -> rusqlite::Result<ContextRow> {
    let status: String = r.get(6)?;
    let status = ContextStatus::ALL
        .into_iter()
        .find(|known| known.as_str() == status)
        .unwrap_or(ContextStatus::Failed);
    Ok(ContextRow {
        id: r.get(0)?,
        vm_name: r.get(1)?,
        vcenter_host: r.get(2)?,
        vm_id: r.get(3)?,
        vm_path: r.get(4)?,
        specification: r.get(5)?,
        status,
        total_jobs: r.get(7)?,
        successful_jobs: r.get(8)?,
        failed_jobs: r.get(9)?,
        cancelled_jobs: r.get(10)?,
        last_job: r.get(11)?,
        last_successful_job: r.get(12)?,
        updated_at: r.get(13)?,
    })
}
