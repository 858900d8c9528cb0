//! The store: SQLite with one writer thread and readers beside it.
//!
//! Guarantees: a write that returned `Ok` survives power loss (`synchronous=FULL`); a write that returned an error left
//! nothing behind; writes are seen in the order in which they were made; one process has the database at a time.
//! A damaged database is refused as it is: nothing is repaired, and not a bit of it is changed. Where the disk is full,
//! nothing new is admitted, and what has begun goes on in the room of a ballast that was kept for it.
//! No transaction is open across an await: a write is a closure that runs to its end on the writer's thread.

pub mod attachments;
pub mod audit;
mod backup;
mod ballast;
mod beside;
pub mod calls;
pub mod disputes;
mod error;
pub mod events;
pub mod idempotency;
mod inspect;
pub mod journal;
pub mod leases;
mod lock;
mod log;
pub mod mappings;
pub mod meta;
pub mod operations;
mod restore;
pub mod restored;
mod row;
mod schema;
pub mod snapshots;
#[cfg(test)]
mod tests;
pub mod volumes;
mod writer;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

pub use attachments::AttachmentRecord;
pub use audit::AuditEntry;
pub use backup::{BackupError, Copy, Replace, backup_to};
pub use calls::{CallRecord, OpenCall};
pub use error::{ChangeError, StoreError};
pub use events::EventRecord;
pub use idempotency::{Key, KeyedResource, Replay};
pub use journal::LineRecord;
pub use leases::LeaseRecord;
pub use mappings::{MappingRecord, Observation};
pub use operations::{Asker, OperationFilter, OperationRecord};
pub use restore::{RestoreError, RestoreOptions, Restored, restore};
pub use schema::{HEAD, judge_head};
pub use snapshots::SnapshotRecord;
pub use volumes::{VolumeFilter, VolumeRecord};
pub use writer::Tx;

/// How many reading connections are kept open.
const IDLE_READERS: usize = 4;

/// The daemon's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: writer::Writer,
    readers: Mutex<Vec<Connection>>,
    copying: Mutex<()>,
    path: std::path::PathBuf,
}

impl Store {
    /// Opens the database at `path`, creating or migrating it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another daemon has it, [`StoreError::Newer`] where a newer one wrote it,
    /// [`StoreError::Foreign`] where the file is something else, [`StoreError::Damaged`] where it is damaged,
    /// [`StoreError::Restoring`] where a restore has not come to its end, [`StoreError::Open`] where it cannot be reached.
    /// The files are then as they were.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = writer::Writer::start(path)?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                readers: Mutex::default(),
                copying: Mutex::default(),
                path: path.to_owned(),
            }),
        })
    }

    /// Runs `change` in one transaction on the writer's thread and returns once it is durable.
    ///
    /// # Errors
    /// What `change` returned, after everything it did was taken back; or what the commit met.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.writer.write(change).await
    }

    /// As [`write`](Self::write), for what begins something new: refused while the room is kept for what has begun.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`StoreError::Full`] where there is no room for the ballast.
    pub async fn admit<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.writer.admit(change).await
    }

    /// Whether anything new is admitted: where the ballast was given up, whether there is room for it again.
    pub async fn has_room(&self) -> bool {
        !self.inner.writer.is_short() || self.admit(|_| Ok::<_, StoreError>(())).await.is_ok()
    }

    /// A copy of everything that is committed, while the daemon works on. One is made at a time.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left then.
    pub async fn backup(&self) -> Result<Copy, BackupError> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = inner.copying.lock();
            backup::copy(&inner.path)
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }

    /// Runs `query` on a reading connection, on a thread where blocking is allowed.
    ///
    /// # Errors
    /// What `query` returned, or what opening a connection met.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let idle = inner.readers.lock().pop();
            let conn = match idle {
                Some(conn) => conn,
                None => open_reader(&inner.path)?,
            };
            let result = query(&conn).map_err(|error| error.naming(&inner.path));
            if result.as_ref().is_err_and(StoreError::is_fatal) {
                inner.writer.give_up();
            }
            let mut readers = inner.readers.lock();
            if readers.len() < IDLE_READERS {
                readers.push(conn);
            }
            result
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }

    /// The id of the latest event, told after the transaction that recorded it is durable.
    #[must_use]
    pub fn event_ids(&self) -> watch::Receiver<i64> {
        self.inner.writer.event_ids()
    }

    /// Returns once the database can no longer be trusted (an I/O error): the daemon must then end.
    pub async fn failed(&self) {
        self.inner.writer.failed().await;
    }

    /// Ends the writer after everything that was given to it so far. Later writes get [`StoreError::Stopped`].
    pub async fn close(&self) {
        // The last connection to close takes the log with it, and that must be the writer's.
        self.inner.readers.lock().clear();
        self.inner.writer.close().await;
    }
}

/// Looks at the database at `path` as thoroughly as SQLite can, and returns a connection that cannot write. Blocks.
///
/// # Errors
/// As [`Store::open`]; nothing was changed.
pub fn examine(path: &Path) -> Result<Connection, StoreError> {
    inspect::inspect(path, inspect::Depth::Everything)
}

/// Whether a daemon runs on the database at `path`.
#[must_use]
pub fn is_in_use(path: &Path) -> bool {
    let lock = std::fs::File::open(beside::beside(path, ".lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// A connection to the database at `path` that cannot write.
///
/// # Errors
/// [`StoreError::Sqlite`] where it cannot be opened.
pub fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(conn)
}
