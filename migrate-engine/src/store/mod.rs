//! The engine's own records, in SQLite: what was copied into which volume, and what was published.
//!
//! What a method returned `Ok` for survives power loss. Calls take milliseconds and block.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

const SCHEMA: &str = include_str!("schema.sql");
const VERSION: i64 = 1;

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
    /// SQLite said no.
    #[error("the engine's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// How the copy of a disk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEnd {
    /// Completed, with the digest of what was copied.
    Completed {
        /// The source's digest.
        digest: String,
    },
    /// Failed.
    Failed {
        /// Why.
        error: String,
    },
    /// Stopped by somebody.
    Cancelled,
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
        let mut conn = Connection::open(path)?;
        conn.busy_timeout(std::time::Duration::from_secs(10))?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )?;
        prepare(&mut conn, path)?;
        Ok(Self {
            conn: Mutex::new(conn),
        })
    }

    /// Records that a disk is about to be copied into a volume, and returns the record's id.
    ///
    /// # Errors
    /// Where the record cannot be made durable: then nothing is to be written.
    pub fn begin_copy(&self, volume: &str, vm: &str, disk: &str) -> Result<i64, StoreError> {
        let conn = self.conn.lock();
        conn.execute(
            "INSERT INTO disk_copies (volume_id, source_vm, source_disk, status, started_at)
             VALUES (?1, ?2, ?3, 'running', ?4)",
            params![volume, vm, disk, Timestamp::now().to_string()],
        )?;
        Ok(conn.last_insert_rowid())
    }

    /// Records how a copy ended.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn end_copy(&self, id: i64, end: &CopyEnd) -> Result<(), StoreError> {
        let (status, digest, error) = match end {
            CopyEnd::Completed { digest } => ("completed", Some(digest), None),
            CopyEnd::Failed { error } => ("failed", None, Some(error)),
            CopyEnd::Cancelled => ("cancelled", None, None),
        };
        self.conn.lock().execute(
            "UPDATE disk_copies SET status = ?2, digest = ?3, error = ?4, finished_at = ?5 WHERE id = ?1",
            params![id, status, digest, error, Timestamp::now().to_string()],
        )?;
        Ok(())
    }

    /// How the latest copy into a volume stands: its status, or `None` where none is recorded here.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub fn latest_copy(&self, volume: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT status FROM disk_copies WHERE volume_id = ?1 ORDER BY id DESC LIMIT 1";
        Ok(self
            .conn
            .lock()
            .query_row(sql, [volume], |r| r.get(0))
            .optional()?)
    }

    /// Records an export that a handshake confirmed. One that a crash left live for the same volume is ended.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn published(&self, export: &ExportRow<'_>) -> Result<(), StoreError> {
        let mut conn = self.conn.lock();
        let tx = conn.transaction()?;
        let now = Timestamp::now().to_string();
        tx.execute(
            "UPDATE nbd_exports SET withdrawn_at = ?2 WHERE volume_id = ?1 AND withdrawn_at IS NULL",
            [export.volume_id, &now],
        )?;
        tx.execute(
            "INSERT INTO nbd_exports (volume_id, export_name, device_path, uri, backend, published_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                export.volume_id,
                export.name,
                export.device_path,
                export.uri,
                export.backend,
                now
            ],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// Records that a volume's export was withdrawn.
    ///
    /// # Errors
    /// Where the record cannot be made durable.
    pub fn withdrawn(&self, volume: &str) -> Result<(), StoreError> {
        let sql = "UPDATE nbd_exports SET withdrawn_at = ?2 WHERE volume_id = ?1 AND withdrawn_at IS NULL";
        self.conn
            .lock()
            .execute(sql, [volume, &Timestamp::now().to_string()])?;
        Ok(())
    }
}

fn prepare(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match tx.query_row("PRAGMA user_version", [], |r| r.get(0))? {
        0 => {
            tx.execute_batch(SCHEMA)?;
            tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
            Ok(tx.commit()?)
        }
        VERSION => Ok(()),
        found => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
        }),
    }
}

/// An export as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct ExportRow<'a> {
    /// The volume.
    pub volume_id: &'a str,
    /// The export's name.
    pub name: &'a str,
    /// The verified device.
    pub device_path: &'a str,
    /// Where it is.
    pub uri: &'a str,
    /// Who serves it.
    pub backend: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_remembered_by_how_it_ended_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/engine.db");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.latest_copy("v").unwrap(), None);
        let first = store.begin_copy("v", "vm", "disk").unwrap();
        assert_eq!(store.latest_copy("v").unwrap().as_deref(), Some("running"));
        store
            .end_copy(first, &CopyEnd::Completed { digest: "d".into() })
            .unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.latest_copy("v").unwrap().as_deref(), Some("completed"));
    }

    #[test]
    fn a_newer_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.db");
        drop(Store::open(&path).unwrap());
        Connection::open(&path)
            .unwrap()
            .execute_batch("PRAGMA user_version = 99")
            .unwrap();
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Newer { found: 99, .. })
        ));
    }

    #[test]
    fn a_volume_has_one_live_export() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("engine.db")).unwrap();
        let row = ExportRow {
            volume_id: "v",
            name: "n",
            device_path: "/dev/x",
            uri: "nbd://",
            backend: "b",
        };
        store.published(&row).unwrap();
        store.published(&row).unwrap();
        let live = "SELECT count(*) FROM nbd_exports WHERE withdrawn_at IS NULL";
        assert_eq!(
            store
                .conn
                .lock()
                .query_row(live, [], |r| r.get::<_, i64>(0))
                .unwrap(),
            1
        );
        store.withdrawn("v").unwrap();
        assert_eq!(
            store
                .conn
                .lock()
                .query_row(live, [], |r| r.get::<_, i64>(0))
                .unwrap(),
            0
        );
    }
}
