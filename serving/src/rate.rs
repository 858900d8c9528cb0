//! How often a caller may ask: a bucket for each, as large as a second's worth and its burst.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// After how many questions callers that ask no more are forgotten.
const SWEEP: u32 = 4096;

/// How often each caller may ask. Callers are told apart by whatever text names them.
#[derive(Debug)]
pub struct Rate {
    limiter: DefaultKeyedRateLimiter<String>,
    asked: AtomicU32,
}

impl Rate {
    /// So many requests a second, and `burst` at once after a pause.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: RateLimiter::keyed(quota),
            asked: AtomicU32::new(0),
        }
    }

    /// Counts a request of this caller.
    ///
    /// # Errors
    /// After how long it may ask again, where it has asked too often.
    pub fn check(&self, caller: &str) -> Result<(), Duration> {
        // Memory stays bounded by those who asked lately.
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP) {
            self.limiter.retain_recent();
        }
        let caller = caller.to_owned();
        self.limiter
            .check_key(&caller)
            .map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_nobody_else() {
        let one = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate::new(one(1), one(3));
        for _ in 0..3 {
            rate.check("a").unwrap();
        }
        let wait = rate.check("a").unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        rate.check("b").unwrap();
        assert_eq!(rate.limiter.len(), 2);
    }
}
