//! The engine's own records: in SQLite what was copied into which volume, what was published and what began by itself; in
//! folders which runs of the engine live.
//!
//! What a method returned `Ok` for survives power loss. Calls take milliseconds and block.

mod alone;
mod copies;
mod exports;
mod replication;
mod run;
mod schedules;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};

pub use alone::{Alone, AloneError};
pub use copies::{Attachment, CopyEnd, DiskRow, Standing};
pub use exports::ExportRow;
pub use replication::{
    Content, ContextRow, ContextStatus, DiskState, FinishedDisk, JobDisk, JobEnd, JobFilter, JobRow, NewJob,
    StepRow, Submission, Turn, Written,
};
pub use run::{DeadRun, Run, RunError};
pub use schedules::{BegunBy, RunsWanted, ScheduleRunRow};

/// What each version of the database added.
const PARTS: [&str; 4] = [
    include_str!("schema.sql"),
    replication::SCHEMA,
    schedules::SCHEMA,
    replication::VIEWS,
];
const VERSION: usize = PARTS.len();

/// The records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was made by a newer engine.
    #[error("database {path} has schema version {found}, newer than this engine's {VERSION}; use the engine that wrote it", path = path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The directory of the database could not be made.
    #[error("cannot make the directory of database {path}", path = path.display())]
    Directory {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open database {path}", path = path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Another machine of this name is known.
    #[error(
        "`{vm_name}` of {vcenter_host} is known as another machine, {vm_path} ({vm_id}): give one of them another name"
    )]
    NameTaken {
        /// The name.
        vm_name: String,
        /// The vCenter.
        vcenter_host: String,
        /// Where the other one is.
        vm_path: String,
        /// Its id.
        vm_id: String,
    },
    /// Somebody else works on the job by now, or it was ended.
    #[error("{job} is worked on by another attempt, or was ended")]
    Superseded {
        /// The job.
        job: String,
    },
    /// A record that must be there is not.
    #[error("the record of {job} is gone from the engine's database: was it put back to an older state?")]
    Lost {
        /// The job.
        job: String,
    },
    /// SQLite said no.
    #[error("the engine's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// What the engine remembers.
pub struct Store {
    conn: Mutex<Connection>,
}

impl Store {
    /// Opens the database, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Newer`] where a newer engine wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|source| StoreError::Directory {
                path: path.to_owned(),
                source,
            })?;
        }
        let mut conn = connect(path).map_err(|source| StoreError::Open {
            path: path.to_owned(),
            source,
        })?;
        prepare(&mut conn, path)?;
        Ok(Self {
            conn: Mutex::new(conn),
        })
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(std::time::Duration::from_secs(10))?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(conn)
}

/// Makes what is not there yet; all of it, or nothing.
fn prepare(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let missing = usize::try_from(found).ok().and_then(|found| PARTS.get(found..));
    let missing = missing.ok_or_else(|| StoreError::Newer {
        path: path.to_owned(),
        found,
    })?;
    for part in missing {
        tx.execute_batch(part)?;
    }
    if !missing.is_empty() {
        tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    }
    Ok(tx.commit()?)
}
