//! What was copied into which volume, and how that ended.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// How a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEnd {
    /// Completed; with the digest of what was copied, where it is that of one disk.
    Completed {
        /// The source's digest.
        digest: Option<String>,
    },
    /// Failed.
    Failed {
        /// Why.
        error: String,
    },
    /// Stopped by somebody.
    Cancelled,
}

/// What the latest copy into a volume makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This engine never copied into it.
    Unknown,
    /// A copy of this disk, or of its machine, has not been completed.
    Unfinished,
    /// Disk and machine were copied.
    Finished,
}

impl CopyEnd {
    fn columns(&self) -> (&'static str, Option<&String>, Option<&String>) {
        match self {
            Self::Completed { digest } => ("completed", digest.as_ref(), None),
            Self::Failed { error } => ("failed", None, Some(error)),
            Self::Cancelled => ("cancelled", None, None),
        }
    }
}

impl Store {
    /// Records that a machine is about to be copied, and returns the record's id.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn begin_machine(&self, source: &str, machine: &str) -> Result<i64, StoreError> {
        let conn = self.conn.lock();
        conn.execute(
            "INSERT INTO copies (source, machine, status, started_at) VALUES (?1, ?2, 'running', ?3)",
            params![source, machine, Timestamp::now().to_string()],
        )?;
        Ok(conn.last_insert_rowid())
    }

    /// Records how the copy of a machine ended.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn end_machine(&self, id: i64, end: &CopyEnd) -> Result<(), StoreError> {
        let (status, _, error) = end.columns();
        self.conn.lock().execute(
            "UPDATE copies SET status = ?2, error = ?3, finished_at = ?4 WHERE id = ?1",
            params![id, status, error, Timestamp::now().to_string()],
        )?;
        Ok(())
    }

    /// Records that a disk of the machine's copy `copy` is about to be copied into a volume, and returns the record's id.
    ///
    /// # Errors
    /// Where the record cannot be made durable: then nothing is to be written.
    pub fn begin_disk(&self, copy: i64, volume: &str, vm: &str, disk: &str) -> Result<i64, StoreError> {
        let conn = self.conn.lock();
        conn.execute(
            "INSERT INTO disk_copies (copy_id, volume_id, source_vm, source_disk, status, started_at)
             VALUES (?1, ?2, ?3, ?4, 'running', ?5)",
            params![copy, volume, vm, disk, Timestamp::now().to_string()],
        )?;
        Ok(conn.last_insert_rowid())
    }

    /// Records how the copy of a disk ended.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn end_disk(&self, id: i64, end: &CopyEnd) -> Result<(), StoreError> {
        let (status, digest, error) = end.columns();
        self.conn.lock().execute(
            "UPDATE disk_copies SET status = ?2, digest = ?3, error = ?4, finished_at = ?5 WHERE id = ?1",
            params![id, status, digest, error, Timestamp::now().to_string()],
        )?;
        Ok(())
    }

    /// What the latest copy into a volume makes of it.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn standing(&self, volume: &str) -> Result<Standing, StoreError> {
        let sql = "SELECT d.status = 'completed' AND c.status = 'completed'
                   FROM disk_copies d JOIN copies c ON c.id = d.copy_id
                   WHERE d.volume_id = ?1 ORDER BY d.id DESC LIMIT 1";
        let finished = self
            .conn
            .lock()
            .query_row(sql, [volume], |r| r.get(0))
            .optional()?;
        Ok(match finished {
            None => Standing::Unknown,
            Some(true) => Standing::Finished,
            Some(false) => Standing::Unfinished,
        })
    }
}
