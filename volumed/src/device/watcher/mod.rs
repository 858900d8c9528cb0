//! The watcher: one thread that looks again whenever anything hints that disks have changed, and publishes what it saw.
//!
//! ```text
//! kernel uevents ─┐
//! udev's events ──┤            ┌──────┐   whole       ┌───────────────┐
//! inotify on /dev ┼─► "dirty" ─► scan ├─► inventory ──► InventoryFeed │
//! SEQNUM gaps ────┤            └──────┘               └───────────────┘
//! timer, rescan() ┘
//! ```
//!
//! Guarantees: the alarms are subscribed before the first scan; an alarm that comes during a scan causes another one;
//! a lost event is noticed by its number and answered with a scan; without any event a disk is seen after
//! [`WatcherConfig::idle_interval`], or [`WatcherConfig::expecting_interval`] while somebody waits for it.
//! What it deliberately does not do: believe an event. Events only say "look again".

mod alarms;
mod announced;
mod disputes;
mod engine;
mod feed;
mod publisher;
mod sequence;
mod stats;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use tokio::sync::watch;

use super::disk::Inventory;
use super::identity::{IdentitySource, KernelIdentities};
use super::root::SysRoot;
use super::scan::ScanError;
use engine::Engine;

pub use feed::{ChangeExpected, InventoryFeed, RescanError, Scanner, WaitError};
pub use publisher::Publisher;
pub use stats::{Hearing, WatcherStats};

/// Which alarms the watcher listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alarms {
    /// Kernel uevents, udev's where a udevd runs, and inotify. Those that are refused are left out, as long as one
    /// is left.
    #[default]
    All,
    /// inotify on the device directories only, as where netlink is closed to us.
    InotifyOnly,
}

/// How to watch.
#[derive(Clone)]
pub struct WatcherConfig {
    /// Where to look.
    pub root: SysRoot,
    /// Who tells identities.
    pub identities: Arc<dyn IdentitySource>,
    /// The disks of this boot, by `diskseq`, that an earlier watcher saw beside another one with their identity.
    pub disputed: BTreeSet<u64>,
    /// What to listen to.
    pub alarms: Alarms,
    /// Receive buffer asked for on the netlink sockets, in bytes. An event takes about 1.3 KiB of it.
    pub receive_buffer: usize,
    /// Longest time without a scan.
    pub idle_interval: Duration,
    /// Longest time without a scan while a [`ChangeExpected`] is held.
    pub expecting_interval: Duration,
}

impl Default for WatcherConfig {
    fn default() -> Self {
        WatcherConfig {
            root: SysRoot::default(),
            identities: Arc::new(KernelIdentities::default()),
            disputed: BTreeSet::new(),
            alarms: Alarms::All,
            receive_buffer: 8 << 20,
            idle_interval: Duration::from_secs(30),
            expecting_interval: Duration::from_millis(250),
        }
    }
}

/// The watcher could not start.
#[derive(Debug, thiserror::Error)]
pub enum WatcherStartError {
    /// Neither uevents nor inotify: disks would only be seen by chance.
    #[error("subscribing to device changes: neither uevents nor inotify are to be had")]
    NoAlarms(#[source] std::io::Error),
    /// The first scan failed.
    #[error("taking the first inventory of disks")]
    Scan(#[source] ScanError),
    /// The thread could not be made, or ended before it was ready.
    #[error("starting the device watcher's thread")]
    Thread(#[source] std::io::Error),
}

/// The watcher's thread has ended without being told to. The daemon must not live on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device watcher died: {reason}")]
pub struct WatcherDied {
    /// What it said last.
    pub reason: String,
}

/// Where the watcher's thread is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Running,
    Stopped,
    Died(WatcherDied),
}

/// What the thread and its users share.
struct Shared {
    /// Wakes the thread.
    wake: OwnedFd,
    stop: AtomicBool,
    /// Generation up to which somebody asked for a scan.
    wanted: AtomicU64,
    /// How many [`ChangeExpected`] are held.
    expecting: AtomicUsize,
    stats: WatcherStats,
}

impl Shared {
    /// Makes the thread look at what is asked of it. Waking twice is waking once.
    fn wake(&self) {
        // The only possible failure is a counter that is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Scanner for Shared {
    fn scan_anew(&self) -> u64 {
        // A scan with a number above this one begins after this line, whatever it was that caused it.
        let begun = self.stats.begun.load(Ordering::SeqCst);
        self.wanted.fetch_max(begun + 1, Ordering::SeqCst);
        self.wake();
        begun
    }

    fn expect_more(&self) {
        self.expecting.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    fn expect_less(&self) {
        self.expecting.fetch_sub(1, Ordering::SeqCst);
    }

    fn stats(&self) -> &WatcherStats {
        &self.stats
    }
}

/// The running watcher. Dropping it tells the thread to stop without waiting for it.
pub struct Watcher {
    shared: Arc<Shared>,
    feed: InventoryFeed,
    life: watch::Receiver<Life>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Subscribes, takes the first inventory and starts watching on a thread of its own. Blocks for the first scan.
    ///
    /// # Errors
    /// [`WatcherStartError`]; nothing is left running then.
    pub fn start(config: WatcherConfig) -> Result<(Watcher, InventoryFeed), WatcherStartError> {
        let thread_error = WatcherStartError::Thread;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| thread_error(error.into()))?;
        let shared = Arc::new(Shared {
            wake,
            stop: AtomicBool::new(false),
            wanted: AtomicU64::new(0),
            expecting: AtomicUsize::new(0),
            stats: WatcherStats::default(),
        });
        let (life_sender, life) = watch::channel(Life::Running);
        let (ready_sender, ready) = std::sync::mpsc::sync_channel(1);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("device-watcher".to_owned())
            .spawn(move || live(config, &of_thread, &ready_sender, &life_sender))
            .map_err(thread_error)?;
        let inventories = match ready.recv() {
            Ok(started) => started?,
            Err(_) => {
                return Err(thread_error(std::io::Error::other(
                    "it ended before it was ready",
                )));
            }
        };
        let feed = InventoryFeed::new(inventories, Arc::<Shared>::clone(&shared));
        let watcher = Watcher {
            shared,
            feed: feed.clone(),
            life,
            thread: Some(thread),
        };
        Ok((watcher, feed))
    }

    /// A feed of the inventories; any number may exist.
    #[must_use]
    pub fn feed(&self) -> InventoryFeed {
        self.feed.clone()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &WatcherStats {
        &self.shared.stats
    }

    /// Ends when the thread has ended without being told to; never after a [`Watcher::stop`].
    pub fn died(&self) -> impl Future<Output = WatcherDied> + Send + use<> {
        let mut life = self.life.clone();
        async move {
            match life
                .wait_for(|life| *life != Life::Running)
                .await
                .map(|life| life.clone())
            {
                Ok(Life::Died(died)) => died,
                Ok(_) => std::future::pending().await,
                Err(_) => WatcherDied {
                    reason: "its thread vanished".to_owned(),
                },
            }
        }
    }

    /// Stops the thread and waits for it: as long as a running scan takes. Blocks, so call it where that is allowed.
    pub fn stop(mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told through `died` already.
            let _ = thread.join();
        }
    }

    fn tell_to_stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

type Started = Result<watch::Receiver<Arc<Inventory>>, WatcherStartError>;

/// The thread's life from birth to death; however it ends, `life` says so.
fn live(
    config: WatcherConfig,
    shared: &Arc<Shared>,
    ready: &std::sync::mpsc::SyncSender<Started>,
    life: &watch::Sender<Life>,
) {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let engine = match Engine::start(config, Arc::clone(shared)) {
            Ok((engine, inventories)) => {
                // Nobody waits any more: then nobody needs the watcher either, and `stop` will be set.
                let _ = ready.send(Ok(inventories));
                engine
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        engine.run()
    }));
    let reason = match ended {
        Ok(Ok(())) => {
            life.send_replace(Life::Stopped);
            return;
        }
        Ok(Err(error)) => format!("waiting for events failed: {error}"),
        Err(panic) => panic_text(panic.as_ref()),
    };
    tracing::error!(reason, "device watcher died");
    life.send_replace(Life::Died(WatcherDied { reason }));
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a word"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
