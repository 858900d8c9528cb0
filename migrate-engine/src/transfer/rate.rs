//! A cap on bytes per second, shared by threads and changeable while they run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::block::{BlockError, Cancel};

/// How soon a waiting thread notices a raised cancel flag.
const SLICE: Duration = Duration::from_millis(50);

/// A handle on one cap; clones share it. Without a cap it costs one uncontended lock per MiB.
#[derive(Debug, Clone, Default)]
pub struct RateLimit {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pacer: Mutex<Pacer>,
    changed: Condvar,
}

/// Pure: who may start when. Bytes are paid for after they were let through, so a burst is one request per thread.
#[derive(Debug, Default)]
struct Pacer {
    bytes_per_second: Option<u64>,
    free_at: Option<Instant>,
}

impl Pacer {
    /// Lets `bytes` through now, or tells how long to wait before asking again.
    fn admit(&mut self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.bytes_per_second else {
            return Ok(());
        };
        let free_at = self.free_at.unwrap_or(now);
        if free_at > now {
            return Err(free_at - now);
        }
        self.free_at = Some(now + Duration::from_secs_f64(bytes as f64 / rate as f64));
        Ok(())
    }
}

impl RateLimit {
    /// A cap in bytes per second; `None` is no cap. Zero counts as one byte per second.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let limit = Self::default();
        limit.set(bytes_per_second);
        limit
    }

    /// Changes the cap; waiting threads take it up at once.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        let rate = bytes_per_second.map(|rate| rate.max(1));
        *self.shared.pacer.lock() = Pacer {
            bytes_per_second: rate,
            free_at: None,
        };
        self.shared.changed.notify_all();
    }

    /// The present cap.
    pub fn get(&self) -> Option<u64> {
        self.shared.pacer.lock().bytes_per_second
    }

    /// Waits for its turn to move `bytes`.
    pub(super) fn take(&self, bytes: u64, cancel: &Cancel) -> Result<(), BlockError> {
        let mut pacer = self.shared.pacer.lock();
        while let Err(wait) = pacer.admit(bytes, Instant::now()) {
            if cancel.is_cancelled() {
                return Err(BlockError::Interrupted);
            }
            self.shared.changed.wait_for(&mut pacer, wait.min(SLICE));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_at_the_rate_and_no_faster() {
        let start = Instant::now();
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            free_at: None,
        };
        let (mut now, mut moved) = (start, 0);
        while moved < 10_000 {
            match pacer.admit(500, now) {
                Ok(()) => moved += 500,
                Err(wait) => now += wait,
            }
        }
        let elapsed = now - start;
        assert!(
            (Duration::from_millis(9400)..Duration::from_millis(9600)).contains(&elapsed),
            "{elapsed:?}"
        );
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            free_at: None,
        };
        assert_eq!(pacer.admit(1000, start), Ok(()));
        let later = start + Duration::from_secs(100);
        assert_eq!(pacer.admit(1000, later), Ok(()));
        assert_eq!(pacer.admit(1, later), Err(Duration::from_secs(1)));
    }

    #[test]
    fn lifting_the_cap_wakes_a_waiting_thread() {
        let limit = RateLimit::new(Some(1));
        let cancel = Cancel::new();
        limit.take(1 << 30, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| limit.take(1, &cancel));
            limit.set(None);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn cancelling_ends_the_wait() {
        let limit = RateLimit::new(Some(1));
        let cancel = Cancel::new();
        limit.take(1 << 30, &cancel).unwrap();
        cancel.cancel();
        assert!(matches!(limit.take(1, &cancel), Err(BlockError::Interrupted)));
    }
}
