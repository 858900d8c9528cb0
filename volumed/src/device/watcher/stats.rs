//! The watcher's counters, for metrics to read at any time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::announced::Announced;

/// Counters of one watcher since its start. All but ages and durations only grow.
#[derive(Debug)]
pub struct WatcherStats {
    /// Kernel uevents received, of every subsystem.
    pub kernel_events: AtomicU64,
    /// Kernel uevents about block devices.
    pub block_events: AtomicU64,
    /// Events received from udevd.
    pub udev_events: AtomicU64,
    /// Batches of changes seen in the device directories.
    pub inotify_events: AtomicU64,
    /// Times that uevents were found missing by their numbers; each caused a scan. Uevents of network devices in
    /// other network namespaces have numbers too and never come here, so this may grow where containers run.
    pub gaps: AtomicU64,
    /// Uevents found missing by their numbers.
    pub events_missed: AtomicU64,
    /// Uevents that the kernel says it could not put into our receive buffer.
    pub events_dropped: AtomicU64,
    /// Scans finished.
    pub scans: AtomicU64,
    /// Scans that failed as a whole; the last good inventory stays published.
    pub scan_failures: AtomicU64,
    /// Generation of the last scan that was begun.
    pub(super) begun: AtomicU64,
    pub(super) announced: Announced,
    last_scan_micros: AtomicU64,
    /// Microseconds since `born`, plus one; zero for never.
    last_event: AtomicU64,
    scan_since: AtomicU64,
    hears_kernel: AtomicBool,
    hears_udev: AtomicBool,
    hears_inotify: AtomicBool,
    born: Instant,
}

/// What a watcher listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// The kernel's uevents.
    pub kernel: bool,
    /// The events of udevd.
    pub udev: bool,
    /// Changes in the device directories.
    pub inotify: bool,
}

impl Default for WatcherStats {
    fn default() -> Self {
        let zero = AtomicU64::default;
        WatcherStats {
            kernel_events: zero(),
            block_events: zero(),
            udev_events: zero(),
            inotify_events: zero(),
            gaps: zero(),
            events_missed: zero(),
            events_dropped: zero(),
            scans: zero(),
            scan_failures: zero(),
            begun: zero(),
            announced: Announced::default(),
            last_scan_micros: zero(),
            last_event: zero(),
            scan_since: zero(),
            hears_kernel: AtomicBool::new(false),
            hears_udev: AtomicBool::new(false),
            hears_inotify: AtomicBool::new(false),
            born: Instant::now(),
        }
    }
}

impl WatcherStats {
    /// How long ago the last event of any source came; `None` where none has come yet.
    #[must_use]
    pub fn last_event_age(&self) -> Option<Duration> {
        self.since(&self.last_event)
    }

    /// How long the running scan has been going; `None` where none runs. A long time means that a disk does not
    /// answer.
    #[must_use]
    pub fn scan_running_for(&self) -> Option<Duration> {
        self.since(&self.scan_since)
    }

    /// How long the last finished scan took.
    #[must_use]
    pub fn last_scan_duration(&self) -> Duration {
        Duration::from_micros(self.last_scan_micros.load(Ordering::Relaxed))
    }

    /// What the watcher listens to; it looks for a udevd with every scan.
    #[must_use]
    pub fn hearing(&self) -> Hearing {
        Hearing {
            kernel: self.hears_kernel.load(Ordering::Relaxed),
            udev: self.hears_udev.load(Ordering::Relaxed),
            inotify: self.hears_inotify.load(Ordering::Relaxed),
        }
    }

    pub(super) fn hears(&self, hearing: Hearing) {
        self.hears_kernel.store(hearing.kernel, Ordering::Relaxed);
        self.hears_udev.store(hearing.udev, Ordering::Relaxed);
        self.hears_inotify.store(hearing.inotify, Ordering::Relaxed);
    }

    pub(super) fn event_came(&self) {
        self.last_event.store(self.now(), Ordering::Relaxed);
    }

    /// Numbers a scan that begins now.
    pub(super) fn scan_begins(&self) -> u64 {
        self.scan_since.store(self.now(), Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn scan_ended(&self) {
        let took = self.scan_running_for().unwrap_or_default();
        self.last_scan_micros.store(micros(took), Ordering::Relaxed);
        self.scan_since.store(0, Ordering::Relaxed);
        self.scans.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        micros(self.born.elapsed()) + 1
    }

    fn since(&self, mark: &AtomicU64) -> Option<Duration> {
        let mark = mark.load(Ordering::Relaxed);
        (mark != 0).then(|| Duration::from_micros(self.now().saturating_sub(mark)))
    }
}

fn micros(duration: Duration) -> u64 {
    // 584,000 years fit.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}
