//! The watcher's thread: waits for an alarm, scans, publishes, and again.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::alarms::{Hint, Subscriptions};
use super::publisher::Publisher;
use super::{Shared, WatcherConfig, WatcherStartError};
use crate::device::disk::Inventory;
use crate::device::scan::{ScanError, scan_with};

/// Shortest time between two scans that alarms cause: in a storm of events one scan answers many.
const SPACING: Duration = Duration::from_millis(10);

/// How soon to look again at a disk in transition.
const UNSETTLED_INTERVAL: Duration = Duration::from_millis(20);

/// For how long to do so. A disk that takes longer is looked at when the next alarm or the timer says so.
const UNSETTLED_LIMIT: Duration = Duration::from_secs(2);

/// How soon to try again after a scan that failed as a whole.
const FAILED_INTERVAL: Duration = Duration::from_millis(250);

/// The thread's own state.
pub(super) struct Engine {
    config: WatcherConfig,
    shared: Arc<Shared>,
    alarms: Subscriptions,
    publisher: Publisher,
    last_scan: Instant,
    dirty: bool,
    retry: Option<Retry>,
}

/// A reason to look again although nothing has happened.
struct Retry {
    interval: Duration,
    /// Since when, and which disks, have been unsettled without a change.
    since: Instant,
    unsettled: Vec<String>,
}

impl Engine {
    /// Subscribes, then scans.
    pub(super) fn start(
        config: WatcherConfig,
        shared: Arc<Shared>,
    ) -> Result<(Engine, watch::Receiver<Arc<Inventory>>), WatcherStartError> {
        let alarms = Subscriptions::open(&config)?;
        shared.stats.hears(alarms.hearing());
        let inventory = timed_scan(&config, &shared).map_err(WatcherStartError::Scan)?;
        let publisher = Publisher::new(inventory.clone(), &config.disputed);
        let inventories = publisher.subscribe();
        let last_scan = Instant::now();
        let mut engine = Engine {
            config,
            shared,
            alarms,
            publisher,
            last_scan,
            dirty: false,
            retry: None,
        };
        engine.plan_retry(&inventory);
        Ok((engine, inventories))
    }

    /// Watches until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        loop {
            let until = self.next_look();
            if self.alarms.wait(shared.wake.as_fd(), until, &shared.stats)? == Hint::Dirty {
                self.dirty = true;
            }
            if shared.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let asked = shared.wanted.load(Ordering::SeqCst) > shared.stats.begun.load(Ordering::SeqCst);
            if asked || Instant::now() >= self.next_look() {
                self.look();
            }
        }
    }

    /// When the next scan is due if nothing more happens.
    fn next_look(&self) -> Instant {
        let interval = if self.dirty {
            SPACING
        } else {
            let expecting = self.shared.expecting.load(Ordering::SeqCst) > 0;
            let regular = if expecting {
                self.config.expecting_interval
            } else {
                self.config.idle_interval
            };
            self.retry
                .as_ref()
                .map_or(regular, |retry| retry.interval.min(regular))
        };
        self.last_scan + interval
    }

    fn look(&mut self) {
        // Cleared before the scan: an alarm that comes while it runs causes another one.
        self.dirty = false;
        self.alarms.follow_udevd();
        self.shared.stats.hears(self.alarms.hearing());
        match timed_scan(&self.config, &self.shared) {
            Ok(inventory) => {
                self.plan_retry(&inventory);
                self.publisher.publish(inventory);
            }
            Err(error) => {
                self.shared.stats.scan_failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, source = %error.source, "device scan failed: the last inventory stays");
                let retry = Retry {
                    interval: FAILED_INTERVAL,
                    since: Instant::now(),
                    unsettled: Vec::new(),
                };
                self.retry = Some(retry);
            }
        }
        self.last_scan = Instant::now();
    }

    /// Looks again soon at disks in transition, as long as there is hope.
    fn plan_retry(&mut self, inventory: &Inventory) {
        let unsettled = &inventory.unsettled;
        if unsettled.is_empty() {
            self.retry = None;
            return;
        }
        let now = Instant::now();
        let since = match &self.retry {
            Some(retry) if retry.unsettled == *unsettled => retry.since,
            _ => now,
        };
        let hope = now.duration_since(since) < UNSETTLED_LIMIT;
        let interval = if hope {
            UNSETTLED_INTERVAL
        } else {
            self.config.idle_interval
        };
        self.retry = Some(Retry {
            interval,
            since,
            unsettled: unsettled.clone(),
        });
    }
}

fn timed_scan(config: &WatcherConfig, shared: &Shared) -> Result<Inventory, ScanError> {
    let generation = shared.stats.scan_begins();
    let result = scan_with(&config.root, config.identities.as_ref(), generation);
    shared.stats.scan_ended();
    result
}
