//! The one thread that writes, and the transaction that it lends to each change.

use std::cell::RefCell;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::ballast::Ballast;
use super::beside::{self, log_of};
use super::inspect::{self, Depth};
use super::latest::Latest;
use super::lock::Lock;
use super::{ChangeError, Clock, EventRecord, StoreError, restore, schema};
use crate::crash;

/// How many changes may wait for the writer before callers wait too.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Desk) -> (Outcome, Answer) + Send>;

/// What the writer works with.
struct Desk {
    conn: Connection,
    ballast: Ballast,
}

/// Whether a change begins something, or goes on with what has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Begins,
    GoesOn,
}

/// Tells the caller what came of its change; called once that has been announced to everybody else.
type Answer = Box<dyn FnOnce()>;

/// What the writer learns from a job.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) events: Vec<EventRecord>,
    fatal: bool,
    full: bool,
}

impl Outcome {
    fn of(error: &StoreError) -> Self {
        Self {
            events: Vec::new(),
            fatal: error.is_fatal(),
            full: matches!(error, StoreError::Full(_)),
        }
    }
}

/// The transaction that a change runs in, and the time at which it runs.
pub struct Tx<'c> {
    tx: Transaction<'c>,
    now: Timestamp,
    events: RefCell<Vec<EventRecord>>,
}

impl Tx<'_> {
    /// The time of this change; the same throughout the transaction.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn told(&self, event: EventRecord) {
        self.events.borrow_mut().push(event);
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.tx
    }
}

/// Changes that the database itself failed, for metrics.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    count: AtomicU64,
    last: Mutex<Option<Timestamp>>,
}

impl Troubles {
    fn note(&self, error: Option<&StoreError>) {
        if error.is_some_and(|error| !error.is_about_rows()) {
            self.count.fetch_add(1, Ordering::Relaxed);
            *self.last.lock() = Some(Timestamp::now());
        }
    }
}

pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    event_ids: watch::Receiver<i64>,
    latest: Latest,
    failed: watch::Sender<bool>,
    /// Whether the ballast is not there.
    short: Arc<AtomicBool>,
    troubles: Arc<Troubles>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: watch::Sender<bool>,
    clock: Clock,
}

impl Writer {
    pub(super) fn start(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let mut lock = Lock::take(path)?;
        beside::sweep(path);
        let (conn, latest) = open(path, &lock).map_err(|error| error.naming(path))?;
        lock.remember_made(path);
        let desk = Desk {
            conn,
            ballast: Ballast::of(path),
        };

        let (jobs, queue) = mpsc::channel(QUEUE);
        let (event_sender, event_ids) = watch::channel(latest);
        let latest = Latest::since(latest);
        let failed = watch::Sender::new(false);
        let short = desk.ballast.is_short();
        let (closing, close_signal) = watch::channel(false);
        let ends = Ends {
            event_ids: event_sender,
            latest: latest.clone(),
            failed: failed.clone(),
            closing: close_signal,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(desk, queue, &ends, lock))
            .map_err(|source| StoreError::Open {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            jobs,
            event_ids,
            latest,
            failed,
            short,
            troubles: Arc::default(),
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
        self.have_done(Nature::GoesOn, change).await
    }

    pub(super) async fn admit<T, E, F>(&self, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.have_done(Nature::Begins, change).await
    }

    async fn have_done<T, E, F>(&self, nature: Nature, change: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        if *self.closing.borrow() || *self.failed.borrow() {
            return Err(StoreError::Stopped.into());
        }
        let (answer, result) = oneshot::channel();
        let (clock, troubles) = (Clock::clone(&self.clock), Arc::clone(&self.troubles));
        let job: Job = Box::new(move |desk| {
            let (outcome, value) = match nature {
                Nature::GoesOn => in_transaction(&mut desk.conn, &clock, change),
                Nature::Begins => match desk.ballast.require() {
                    Ok(()) => in_transaction(&mut desk.conn, &clock, change),
                    Err(full) => (Outcome::default(), Err(full.into())),
                },
            };
            troubles.note(value.as_ref().err().and_then(ChangeError::store));
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
        self.event_ids.clone()
    }

    pub(super) fn latest(&self) -> &Latest {
        &self.latest
    }

    pub(super) async fn failed(&self) {
        let mut failed = self.failed.subscribe();
        tokio::select! {
            () = async { drop(failed.wait_for(|&failed| failed).await) } => {}
            // The thread is gone without having been asked to go: a change panicked.
            () = self.jobs.closed() => {
                if *self.closing.borrow() && !*self.failed.borrow() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Whether the ballast is not there: then nothing new is admitted.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// How many changes wait, how many the database failed since the start, and when it last did.
    pub(super) fn strain(&self) -> (usize, u64, Option<Timestamp>) {
        let waiting = self.jobs.max_capacity() - self.jobs.capacity();
        let (count, last) = (&self.troubles.count, *self.troubles.last.lock());
        (waiting, count.load(Ordering::Relaxed), last)
    }

    /// Takes nothing more: somebody who read met what cannot be trusted.
    pub(super) fn give_up(&self) {
        if !self.failed.send_replace(true) {
            tracing::error!("the database cannot be read and can no longer be trusted; stopping");
        }
    }

    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        // An empty job wakes the thread; it then sees that it should end.
        let wake: Job = Box::new(move |_| (Outcome::default(), Box::new(|| {})));
        let _ = self.jobs.send(wake).await;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Ends {
    event_ids: watch::Sender<i64>,
    latest: Latest,
    failed: watch::Sender<bool>,
    closing: watch::Receiver<bool>,
}

fn run(mut desk: Desk, mut queue: mpsc::Receiver<Job>, ends: &Ends, _lock: Lock) {
    while let Some(job) = queue.blocking_recv() {
        let (outcome, answer) = job(&mut desk);
        if outcome.full {
            desk.ballast.give_up();
        }
        ends.latest.announce(outcome.events, &ends.event_ids);
        answer();
        if outcome.fatal {
            tracing::error!("the database failed and can no longer be trusted; stopping");
            ends.failed.send_replace(true);
        }
        if *ends.failed.borrow() {
            return leave_as_it_is(&desk.conn);
        }
        if *ends.closing.borrow() && queue.is_empty() {
            return;
        }
    }
}

/// Has the last connection leave the log alone: what is damaged is not written over, and what is good in the log stays.
fn leave_as_it_is(conn: &Connection) {
    if let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(%error, "the log may be written into the database at the end");
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
    let failed = |error: StoreError| (Outcome::of(&error), Err(error.into()));
    let tx = match conn.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => Tx {
            tx,
            now: clock(),
            events: RefCell::default(),
        },
        Err(error) => return failed(error.into()),
    };
    if let Some(fault) = crash::store_fault() {
        return failed(fault.into());
    }
    match change(&tx) {
        Ok(value) => {
            let events = tx.events.take();
            match tx.tx.commit() {
                Ok(()) => (
                    Outcome {
                        events,
                        ..Outcome::default()
                    },
                    Ok(value),
                ),
                Err(error) => failed(error.into()),
            }
        }
        Err(error) => (error.store().map(Outcome::of).unwrap_or_default(), Err(error)),
    }
}

/// Opens the database for writing, whole and current, and tells the id of its latest event.
pub(super) fn open(path: &Path, lock: &Lock) -> Result<(Connection, i64), StoreError> {
    if restore::note_of(path).exists() {
        return Err(StoreError::Restoring {
            path: path.to_owned(),
        });
    }
    // A crash while it was made for the first time leaves a journal that takes it back to nothing.
    let is_half_made = !lock.was_made() && beside::journal_of(path).exists();
    // Looked at by somebody who cannot write: opening it for writing may already change it.
    match fs::metadata(path) {
        Ok(found) if found.len() > 0 && !is_half_made => {
            drop(inspect::inspect(path, Depth::Pages).map_err(|error| ours(error, lock))?)
        }
        Ok(_) if lock.was_made() => return Err(inspect::damaged(path, "the file is empty")),
        Ok(_) | Err(_) if fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0) => {
            return Err(inspect::damaged(path, "its write-ahead log is there without it"));
        }
        Ok(_) | Err(_) => {}
    }
    let mut conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    schema::prepare(&mut conn, path)?;
    // FULL syncs the log at every commit: an acknowledged change survives a power cut.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    if let Some(level) = crash::synchronous() {
        tracing::warn!(level, "the database is synced otherwise by order of a test");
        conn.pragma_update(None, "synchronous", level)?;
    }
    let latest = conn.query_row("SELECT coalesce(max(id), 0) FROM events", [], |r| r.get(0))?;
    Ok((conn, latest))
}

/// Where a database of ours was made before, a file that is not even SQLite's is what became of it.
fn ours(error: StoreError, lock: &Lock) -> StoreError {
    match error {
        StoreError::Foreign { path, why } if lock.was_made() && why == schema::NO_SQLITE => {
            inspect::damaged(&path, &why)
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
