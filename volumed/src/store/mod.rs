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
pub mod ignored;
mod in_line;
mod inspect;
pub mod journal;
mod latest;
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
mod strain;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod volumes;
mod writer;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, watch};

pub use attachments::AttachmentRecord;
pub use audit::{AuditEntry, AuditRecord};
pub use backup::{BackupError, Copy, Replace, backup_to};
pub use calls::{CallRecord, OpenCall};
pub use error::{ChangeError, StoreError};
pub use events::EventRecord;
pub use idempotency::{Key, KeyedResource, Replay};
pub use ignored::IgnoredRecord;
pub use journal::LineRecord;
pub use leases::LeaseRecord;
pub use mappings::{MappingRecord, Observation};
pub use operations::{Asker, OperationFilter, OperationRecord};
pub use restore::{RestoreError, RestoreOptions, Restored, restore};
pub use schema::{HEAD, judge_head};
pub use snapshots::SnapshotRecord;
pub use strain::Strain;
pub use tokens::TokenRecord;
pub use volumes::{VolumeFilter, VolumeRecord};
pub use writer::Tx;

/// How many read at once; more wait. Each has a connection and a thread, so that a thousand who ask at once cost no more.
const READERS: usize = 4;

/// Tells the time that is recorded, and by which a record counts as old.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The daemon's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    clock: Clock,
}

enum Inner {
    /// On threads of their own.
    Threads {
        writer: writer::Writer,
        readers: Mutex<Vec<Connection>>,
        reading: Arc<Semaphore>,
        copying: Mutex<()>,
        path: std::path::PathBuf,
    },
    /// On the caller's thread.
    InLine(in_line::InLine),
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
        let clock: Clock = Arc::new(Timestamp::now);
        let inner = Inner::Threads {
            writer: writer::Writer::start(path, Arc::clone(&clock))?,
            readers: Mutex::default(),
            reading: Arc::new(Semaphore::new(READERS)),
            copying: Mutex::default(),
            path: path.to_owned(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            clock,
        })
    }

    /// As [`open`](Self::open), for simulations: the same transactions on the thread of whoever asks, at the times that
    /// `clock` tells. Before and after each of them the others get their turn, so that anything may come between.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in_line(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let inner = Inner::InLine(in_line::InLine::open(path, Arc::clone(&clock))?);
        Ok(Self {
            inner: Arc::new(inner),
            clock,
        })
    }

    /// The time as the records have it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
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
        match &*self.inner {
            Inner::Threads { writer, .. } => writer.write(change).await,
            Inner::InLine(store) => store.write(change).await,
        }
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
        match &*self.inner {
            Inner::Threads { writer, .. } => writer.admit(change).await,
            Inner::InLine(store) => store.write(change).await,
        }
    }

    /// Whether anything new is admitted: where the ballast was given up, whether there is room for it again.
    pub async fn has_room(&self) -> bool {
        let is_short = match &*self.inner {
            Inner::Threads { writer, .. } => writer.is_short(),
            Inner::InLine(_) => false,
        };
        !is_short || self.admit(|_| Ok::<_, StoreError>(())).await.is_ok()
    }

    /// A copy of everything that is committed, while the daemon works on. One is made at a time.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left then.
    pub async fn backup(&self) -> Result<Copy, BackupError> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let Inner::Threads { copying, path, .. } = &*inner else {
                return Err(StoreError::Stopped.into());
            };
            let _one_at_a_time = copying.lock();
            backup::copy(path)
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
        let reading = match &*self.inner {
            Inner::InLine(store) => return store.read(query).await,
            Inner::Threads { reading, .. } => Arc::clone(reading),
        };
        let turn = reading.acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let Inner::Threads {
                writer,
                readers,
                path,
                ..
            } = &*inner
            else {
                return Err(StoreError::Stopped);
            };
            let idle = readers.lock().pop();
            let conn = match idle {
                Some(conn) => conn,
                None => open_reader(path)?,
            };
            let result = query(&conn).map_err(|error| error.naming(path));
            if result.as_ref().is_err_and(StoreError::is_fatal) {
                writer.give_up();
            }
            readers.lock().push(conn);
            drop(turn);
            result
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }

    /// The id of the latest event, told after the transaction that recorded it is durable.
    #[must_use]
    pub fn event_ids(&self) -> watch::Receiver<i64> {
        match &*self.inner {
            Inner::Threads { writer, .. } => writer.event_ids(),
            Inner::InLine(store) => store.event_ids(),
        }
    }

    /// Every event after number `after`, oldest first, without asking the database; `None` where that is longer ago than what
    /// is kept in memory.
    #[must_use]
    pub fn latest_events(&self, after: i64) -> Option<Vec<Arc<EventRecord>>> {
        let latest = match &*self.inner {
            Inner::Threads { writer, .. } => writer.latest(),
            Inner::InLine(store) => store.latest(),
        };
        latest.after(after)
    }

    /// Returns once the database can no longer be trusted (an I/O error): the daemon must then end.
    pub async fn failed(&self) {
        match &*self.inner {
            Inner::Threads { writer, .. } => writer.failed().await,
            Inner::InLine(_) => std::future::pending().await,
        }
    }

    /// Ends the writer after everything that was given to it so far. Later writes get [`StoreError::Stopped`].
    pub async fn close(&self) {
        if let Inner::Threads { writer, readers, .. } = &*self.inner {
            // The last connection to close takes the log with it, and that must be the writer's.
            readers.lock().clear();
            writer.close().await;
        }
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
