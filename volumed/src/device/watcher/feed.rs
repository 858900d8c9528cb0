//! The receiving end of the watcher: inventories as they come, and ways to wait for one.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::WatcherDied;
use super::stats::WatcherStats;
use crate::device::disk::Inventory;

/// Inventories as the watcher publishes them. Clones are independent.
#[derive(Clone)]
pub struct InventoryFeed {
    inventories: watch::Receiver<Arc<Inventory>>,
    scanner: Arc<dyn Scanner>,
}

/// Who takes the inventories of a feed: the watcher's thread, or what stands in for it in a simulation.
pub trait Scanner: Send + Sync {
    /// Has a scan begin after this call: the inventory of it has a higher generation than the returned one.
    fn scan_anew(&self) -> u64;

    /// Somebody waits for a change, until [`expect_less`](Self::expect_less).
    fn expect_more(&self);

    /// One of those who waited no longer does.
    fn expect_less(&self);

    /// The counters.
    fn stats(&self) -> &WatcherStats;
}

/// What was waited for did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The time is over; the disk may still come.
    #[error("waiting for the device inventory took too long")]
    TimedOut,
    /// There will be no more inventories.
    #[error("waiting for the device inventory: the watcher has ended")]
    Ended,
}

/// No fresh inventory was to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RescanError {
    /// No scan has begun and ended in time: a disk does not answer, or scans fail.
    #[error("rescanning devices took too long")]
    TimedOut,
    /// The watcher has ended.
    #[error("rescanning devices: the watcher has ended")]
    Ended,
}

impl From<WaitError> for RescanError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => RescanError::TimedOut,
            WaitError::Ended => RescanError::Ended,
        }
    }
}

impl InventoryFeed {
    /// The feed of what `scanner` publishes.
    #[must_use]
    pub fn new(inventories: watch::Receiver<Arc<Inventory>>, scanner: Arc<dyn Scanner>) -> InventoryFeed {
        InventoryFeed { inventories, scanner }
    }

    /// The last inventory. There always is one; it may be as old as the watcher's idle interval.
    #[must_use]
    pub fn latest(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventories.borrow())
    }

    /// The next inventory that this feed has not returned from here yet.
    ///
    /// # Errors
    /// [`WatcherDied`] where there will be none: stopped or dead.
    pub async fn changed(&mut self) -> Result<Arc<Inventory>, WatcherDied> {
        match self.inventories.changed().await {
            Ok(()) => Ok(Arc::clone(&self.inventories.borrow_and_update())),
            Err(_) => Err(WatcherDied {
                reason: "no more inventories".to_owned(),
            }),
        }
    }

    /// Waits until `look` finds what it looks for in an inventory, beginning with the last one. Hold
    /// [`InventoryFeed::expect_change`] meanwhile where lost events would be too slow otherwise.
    ///
    /// # Errors
    /// [`WaitError`]
    pub async fn wait_for<T>(
        &self,
        mut look: impl FnMut(&Arc<Inventory>) -> Option<T>,
        deadline: Instant,
    ) -> Result<T, WaitError> {
        let mut inventories = self.inventories.clone();
        loop {
            let inventory = Arc::clone(&inventories.borrow_and_update());
            if let Some(found) = look(&inventory) {
                return Ok(found);
            }
            match timeout_at(deadline, inventories.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(WaitError::Ended),
                Err(_) => return Err(WaitError::TimedOut),
            }
        }
    }

    /// An inventory whose scan began after this call. Concurrent callers may share one.
    ///
    /// # Errors
    /// [`RescanError`]
    pub async fn rescan(&self, deadline: Instant) -> Result<Arc<Inventory>, RescanError> {
        let begun = self.scanner.scan_anew();
        let fresh =
            |inventory: &Arc<Inventory>| (inventory.generation > begun).then(|| Arc::clone(inventory));
        Ok(self.wait_for(fresh, deadline).await?)
    }

    /// Makes the watcher look often, events or not, until the guard is dropped.
    #[must_use]
    pub fn expect_change(&self) -> ChangeExpected {
        self.scanner.expect_more();
        ChangeExpected {
            scanner: Arc::clone(&self.scanner),
        }
    }

    /// When the kernel announced the disk with this `diskseq` of this boot: its first uevent. `None` where none came, as
    /// for a disk that was there before the watcher, or whose event was lost.
    #[must_use]
    pub fn announced(&self, diskseq: u64) -> Option<std::time::Instant> {
        self.scanner.stats().announced.at(diskseq)
    }

    /// The watcher's counters.
    #[must_use]
    pub fn stats(&self) -> &WatcherStats {
        self.scanner.stats()
    }
}

/// While this is held the watcher scans at its faster interval.
pub struct ChangeExpected {
    scanner: Arc<dyn Scanner>,
}

impl Drop for ChangeExpected {
    fn drop(&mut self) {
        self.scanner.expect_less();
    }
}
