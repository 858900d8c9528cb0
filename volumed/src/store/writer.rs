//! The one thread that writes, and the transaction that it lends to each change.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{ChangeError, Clock, StoreError, schema};
use crate::crash;

/// How many changes may wait for the writer before callers wait too.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) -> (Outcome, Answer) + Send>;

/// Tells the caller what came of its change; called once that has been announced to everybody else.
type Answer = Box<dyn FnOnce()>;

/// What the writer learns from a job.
pub(super) struct Outcome {
    pub(super) event: Option<i64>,
    fatal: bool,
}

/// The transaction that a change runs in, and the time at which it runs.
pub struct Tx<'c> {
    tx: Transaction<'c>,
    now: Timestamp,
    last_event: Cell<Option<i64>>,
}

impl Tx<'_> {
    /// The time of this change; the same throughout the transaction.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn told(&self, event: i64) {
        self.last_event.set(Some(event));
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.tx
    }
}

pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    events: watch::Receiver<i64>,
    failed: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: watch::Sender<bool>,
    clock: Clock,
}

impl Writer {
    pub(super) fn start(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let (conn, latest) = open(path).map_err(|error| error.naming(path))?;

        let (jobs, queue) = mpsc::channel(QUEUE);
        let (event_sender, events) = watch::channel(latest);
        let (failed_sender, failed) = watch::channel(false);
        let (closing, close_signal) = watch::channel(false);
        let ends = Ends {
            events: event_sender,
            failed: failed_sender,
            closing: close_signal,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(conn, queue, &ends, lock))
            .map_err(|source| StoreError::Open {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            jobs,
            events,
            failed,
            thread: Mutex::new(Some(thread)),
            closing,
            clock,
        })
    }

    pub(super) async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        if *self.closing.borrow() {
            return Err(StoreError::Stopped.into());
        }
        let (answer, result) = oneshot::channel();
        let clock = Clock::clone(&self.clock);
        let job: Job = Box::new(move |conn| {
            let (outcome, value) = in_transaction(conn, &clock, change);
            let tell = move || {
                // The caller may have gone away; what it asked for is done all the same.
                let _ = answer.send(value);
            };
            (outcome, Box::new(tell) as Answer)
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)?
    }

    pub(super) fn event_ids(&self) -> watch::Receiver<i64> {
        self.events.clone()
    }

    pub(super) async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|&failed| failed).await.is_err() && !*self.closing.borrow() {
            return; // the thread is gone without having been asked to go
        }
        if !*self.failed.borrow() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        // An empty job wakes the thread; it then sees that it should end.
        let nothing = Outcome {
            event: None,
            fatal: false,
        };
        let wake: Job = Box::new(move |_| (nothing, Box::new(|| {})));
        let _ = self.jobs.send(wake).await;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Ends {
    events: watch::Sender<i64>,
    failed: watch::Sender<bool>,
    closing: watch::Receiver<bool>,
}

fn run(mut conn: Connection, mut queue: mpsc::Receiver<Job>, ends: &Ends, _lock: File) {
    while let Some(job) = queue.blocking_recv() {
        let (outcome, answer) = job(&mut conn);
        if let Some(event) = outcome.event {
            ends.events.send_replace(event);
        }
        answer();
        if outcome.fatal {
            tracing::error!("the database failed and can no longer be trusted; stopping");
            ends.failed.send_replace(true);
            return;
        }
        if *ends.closing.borrow() && queue.is_empty() {
            return;
        }
    }
}

pub(super) fn in_transaction<T, E, F>(
    conn: &mut Connection,
    clock: &Clock,
    change: F,
) -> (Outcome, Result<T, E>)
where
    E: ChangeError,
    F: FnOnce(&Tx<'_>) -> Result<T, E>,
{
    let failed = |error: StoreError| {
        let fatal = error.is_fatal();
        (Outcome { event: None, fatal }, Err(error.into()))
    };
    let tx = match conn.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => Tx {
            tx,
            now: clock(),
            last_event: Cell::new(None),
        },
        Err(error) => return failed(error.into()),
    };
    if let Some(fault) = crash::store_fault() {
        return failed(fault.into());
    }
    match change(&tx) {
        Ok(value) => {
            let event = tx.last_event.get();
            match tx.tx.commit() {
                Ok(()) => (Outcome { event, fatal: false }, Ok(value)),
                Err(error) => failed(error.into()),
            }
        }
        Err(error) => {
            let fatal = error.store().is_some_and(StoreError::is_fatal);
            (Outcome { event: None, fatal }, Err(error))
        }
    }
}

/// Opens the database for writing, whole and current, and tells the id of its latest event.
pub(super) fn open(path: &Path) -> Result<(Connection, i64), StoreError> {
    let mut conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    schema::prepare(&mut conn, path)?;
    // FULL syncs the log at every commit: an acknowledged change survives a power cut.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if found != "ok" {
        let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let source = rusqlite::Error::SqliteFailure(damage, Some(found));
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            source,
        });
    }
    let latest = conn.query_row("SELECT coalesce(max(id), 0) FROM events", [], |r| r.get(0))?;
    Ok((conn, latest))
}

/// Takes the lock that keeps a second daemon away. It is the kernel's: it ends with the process, however that ends.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let open_error = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(PathBuf::from(lock_path))
        .map_err(open_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(open_error(source)),
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
