//! How far a transfer is: counters that its threads raise and anybody may look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::report::CopyTotals;

/// Time constant of the rate's moving average.
const SMOOTHING: Duration = Duration::from_secs(5);
/// Looks that follow each other faster than this see the same rate.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(200);

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not begun.
    Waiting = 0,
    /// Asking for extents.
    Mapping = 1,
    /// Moving bytes.
    Copying = 2,
    /// Making them durable.
    Flushing = 3,
    /// Reading them back.
    Verifying = 4,
    /// Done; failed and cancelled transfers stay in the phase where they stopped.
    Finished = 5,
}

/// Live counters of one transfer at a time; share it by `Arc`, pass it by reference.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    total: AtomicU64,
    mapped: AtomicU64,
    data_found: AtomicU64,
    data_done: AtomicU64,
    written: AtomicU64,
    skipped: AtomicU64,
    resumed: AtomicU64,
    found_zero: AtomicU64,
    zeroed: AtomicU64,
    meter: Mutex<Meter>,
}

/// One look at a transfer. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// Size of the virtual disk.
    pub total_bytes: u64,
    /// Bytes that have to move: data, plus everything whose extents are not known yet. Falls as more is known.
    pub data_bytes: u64,
    /// Of those, how many have moved.
    pub data_done: u64,
    /// Written to the target as data.
    pub bytes_written: u64,
    /// Zeroes that the source announced and nobody had to read.
    pub zero_skipped: u64,
    /// Data that an earlier, interrupted run has moved; it does not count as data that has to move.
    pub data_resumed: u64,
    /// Zeroes that were read to be known.
    pub zero_found: u64,
    /// Made zero on the target.
    pub bytes_zeroed: u64,
    /// Bytes of data per second, smoothed; not known at first.
    pub rate: Option<f64>,
    /// Time left for the data left at this rate.
    pub eta: Option<Duration>,
}

/// Pure: an exponentially weighted rate over unevenly spaced looks.
#[derive(Debug, Default)]
struct Meter {
    last: Option<(Instant, u64)>,
    rate: Option<f64>,
}

impl Meter {
    fn look(&mut self, now: Instant, done: u64) -> Option<f64> {
        let Some((then, before)) = self.last else {
            self.last = Some((now, done));
            return None;
        };
        let passed = now.saturating_duration_since(then);
        if passed >= SHORTEST_SAMPLE {
            let latest = done.saturating_sub(before) as f64 / passed.as_secs_f64();
            let weight = 1.0 - (-passed.as_secs_f64() / SMOOTHING.as_secs_f64()).exp();
            self.rate = Some(self.rate.map_or(latest, |rate| rate + weight * (latest - rate)));
            self.last = Some((now, done));
        }
        self.rate
    }
}

impl Progress {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The present state; cheap, callable from any thread.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(Instant::now())
    }

    /// The present state and each later one, looked at so often: for as long as anybody listens and the transfer lives. Whoever
    /// listens late misses what was between, never the latest.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn follow(self: &Arc<Self>, pace: Duration) -> watch::Receiver<Snapshot> {
        let (sender, receiver) = watch::channel(self.snapshot());
        let looked_at = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + pace, pace);
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    _ = looks.tick() => {}
                }
                let Some(progress) = looked_at.upgrade() else {
                    return;
                };
                sender.send_replace(progress.snapshot());
            }
        });
        receiver
    }

    fn snapshot_at(&self, now: Instant) -> Snapshot {
        // Done before found: a count of work done never passes the count of work known.
        let data_done = self.data_done.load(Relaxed);
        let total_bytes = self.total.load(Relaxed);
        let unknown = total_bytes.saturating_sub(self.mapped.load(Relaxed));
        let data_bytes = (self.data_found.load(Relaxed) + unknown).max(data_done);
        let rate = self.meter.lock().look(now, data_done);
        let left = (data_bytes - data_done) as f64;
        let eta = rate
            .filter(|rate| *rate >= 1.0)
            .map(|rate| (left / rate).min(u32::MAX.into()));
        Snapshot {
            phase: self.phase(),
            total_bytes,
            data_bytes,
            data_done,
            bytes_written: self.written.load(Relaxed),
            zero_skipped: self.skipped.load(Relaxed),
            data_resumed: self.resumed.load(Relaxed),
            zero_found: self.found_zero.load(Relaxed),
            bytes_zeroed: self.zeroed.load(Relaxed),
            rate,
            eta: eta.map(Duration::from_secs_f64),
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            1 => Phase::Mapping,
            2 => Phase::Copying,
            3 => Phase::Flushing,
            4 => Phase::Verifying,
            5 => Phase::Finished,
            _ => Phase::Waiting,
        }
    }

    /// Starts over for another transfer of `total` bytes.
    pub(super) fn begin(&self, phase: Phase, total: u64) {
        for counter in [
            &self.mapped,
            &self.data_found,
            &self.data_done,
            &self.written,
            &self.skipped,
            &self.resumed,
            &self.found_zero,
            &self.zeroed,
        ] {
            counter.store(0, Relaxed);
        }
        self.total.store(total, Relaxed);
        self.enter(phase);
        *self.meter.lock() = Meter {
            last: Some((Instant::now(), 0)),
            rate: None,
        };
    }

    /// Shows what a transfer elsewhere has told; its rate is measured here.
    pub fn mirror(&self, seen: &Snapshot) {
        if self.phase() == Phase::Waiting {
            self.begin(seen.phase, seen.total_bytes);
        }
        self.total.store(seen.total_bytes, Relaxed);
        self.mapped.store(seen.total_bytes, Relaxed);
        self.data_found.store(seen.data_bytes, Relaxed);
        self.data_done.store(seen.data_done, Relaxed);
        self.written.store(seen.bytes_written, Relaxed);
        self.skipped.store(seen.zero_skipped, Relaxed);
        self.resumed.store(seen.data_resumed, Relaxed);
        self.found_zero.store(seen.zero_found, Relaxed);
        self.zeroed.store(seen.bytes_zeroed, Relaxed);
        self.enter(seen.phase);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Extents of `data + zero` more bytes are known.
    pub(super) fn mapped(&self, data: u64, zero: u64) {
        self.data_found.fetch_add(data, Relaxed);
        self.skipped.fetch_add(zero, Relaxed);
        self.mapped.fetch_add(data + zero, Relaxed);
    }

    /// Nothing has to be done about `bytes` more, of which `data` hold data that an earlier run has moved.
    pub(super) fn resumed(&self, data: u64, bytes: u64) {
        self.resumed.fetch_add(data, Relaxed);
        self.mapped.fetch_add(bytes, Relaxed);
    }

    /// A block's bytes are where they belong.
    pub(super) fn moved(&self, read: u64, written: u64, found_zero: u64) {
        self.written.fetch_add(written, Relaxed);
        self.found_zero.fetch_add(found_zero, Relaxed);
        self.data_done.fetch_add(read, Relaxed);
    }

    pub(super) fn zeroed(&self, bytes: u64) {
        self.zeroed.fetch_add(bytes, Relaxed);
    }

    pub(super) fn totals(&self) -> CopyTotals {
        CopyTotals {
            bytes_read: self.data_done.load(Relaxed),
            bytes_written: self.written.load(Relaxed),
            bytes_skipped: self.skipped.load(Relaxed),
            bytes_found_zero: self.found_zero.load(Relaxed),
            bytes_zeroed: self.zeroed.load(Relaxed),
            bytes_resumed: self.resumed.load(Relaxed),
        }
    }
}

#[cfg(test)]
impl Progress {
    /// As if a transfer of `data` bytes had come so far: for tests of those who look.
    pub(crate) fn pretend(&self, phase: Phase, data: u64, done: u64) {
        self.begin(phase, data);
        self.mapped(data, 0);
        self.moved(done, done, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_counts_data_not_size() {
        let progress = Progress::new();
        progress.begin(Phase::Copying, 1000 << 20);
        let start = Instant::now();
        assert_eq!(progress.snapshot_at(start).data_bytes, 1000 << 20);
        progress.mapped(100 << 20, 900 << 20);
        progress.moved(10 << 20, 10 << 20, 0);
        let snapshot = progress.snapshot_at(start + Duration::from_secs(1));
        assert_eq!(snapshot.data_bytes, 100 << 20);
        let eta = snapshot.eta.unwrap();
        assert!(
            (8.0..10.0).contains(&eta.as_secs_f64()),
            "90 MiB at 10 MiB/s, not 990: {eta:?}"
        );
    }

    #[test]
    fn a_mirror_shows_what_it_was_told() {
        let (told, progress) = (Progress::new(), Progress::new());
        told.begin(Phase::Copying, 100);
        told.mapped(70, 30);
        told.moved(20, 15, 5);
        told.zeroed(30);
        let seen = Snapshot {
            rate: None,
            ..told.snapshot()
        };
        progress.mirror(&seen);
        let shown = progress.snapshot();
        assert_eq!(
            Snapshot {
                rate: None,
                eta: None,
                ..shown
            },
            Snapshot {
                rate: None,
                eta: None,
                ..seen
            }
        );
        assert_eq!(progress.totals(), told.totals());
    }

    #[tokio::test]
    async fn who_follows_sees_the_latest_until_the_transfer_is_gone() {
        let progress = Arc::new(Progress::new());
        progress.begin(Phase::Copying, 100);
        let mut states = progress.follow(Duration::from_millis(1));
        let mut other = states.clone();
        progress.mapped(100, 0);
        progress.moved(60, 60, 0);
        states.wait_for(|now| now.data_done == 60).await.unwrap();
        progress.moved(40, 40, 0);
        progress.enter(Phase::Finished);
        let last = states.wait_for(|now| now.phase == Phase::Finished).await.unwrap();
        assert_eq!((last.data_done, last.data_bytes), (100, 100));
        drop(last);
        drop(progress);
        while states.changed().await.is_ok() {}
        assert_eq!(other.borrow_and_update().data_done, 100);
    }

    #[test]
    fn the_rate_follows_slowly_and_converges() {
        let mut meter = Meter::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(meter.look(at(0), 0), None);
        assert_eq!(meter.look(at(1), 100), Some(100.0));
        let dip = meter.look(at(2), 100).unwrap();
        assert!(
            (60.0..100.0).contains(&dip),
            "one slow second is not the end: {dip}"
        );
        let mut rate = dip;
        for second in 3..60 {
            rate = meter.look(at(second), 100 + (second - 2) * 50).unwrap();
        }
        assert!((49.0..51.0).contains(&rate), "{rate}");
        assert_eq!(
            meter.look(at(59), 1 << 40),
            Some(rate),
            "looks in quick succession see the same"
        );
    }
}
