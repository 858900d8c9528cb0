//! The store on the caller's thread: the same transactions without threads, for simulations in virtual time.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::watch;
use tokio::task::yield_now;

use super::latest::Latest;
use super::lock::Lock;
use super::writer::{in_transaction, open};
use super::{ChangeError, Clock, StoreError, Tx};

/// One connection for everything.
pub(super) struct InLine {
    conn: Mutex<Connection>,
    clock: Clock,
    event_ids: watch::Sender<i64>,
    latest: Latest,
    /// Keeps a second store away.
    _lock: Lock,
}

impl InLine {
    pub(super) fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let lock = Lock::take(path)?;
        let (conn, latest) = open(path, &lock).map_err(|error| error.naming(path))?;
        Ok(Self {
            conn: Mutex::new(conn),
            clock,
            event_ids: watch::Sender::new(latest),
            latest: Latest::since(latest),
            _lock: lock,
        })
    }

    /// Others get their turn before and after: a crash may come between what is recorded and what is done about it.
    pub(super) async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        E: ChangeError,
        F: FnOnce(&Tx<'_>) -> Result<T, E>,
    {
        yield_now().await;
        let (outcome, value) = in_transaction(&mut self.conn.lock(), &self.clock, change);
        self.latest.announce(outcome.events, &self.event_ids);
        yield_now().await;
        value
    }

    pub(super) async fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        yield_now().await;
        query(&self.conn.lock())
    }

    pub(super) fn event_ids(&self) -> watch::Receiver<i64> {
        self.event_ids.subscribe()
    }

    pub(super) fn latest(&self) -> &Latest {
        &self.latest
    }
}
