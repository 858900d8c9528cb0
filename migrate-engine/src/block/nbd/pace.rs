//! How many reads of a connection are in flight.

use std::time::{Duration, Instant};

/// After so many reads, and so long, it is seen whether there should be more.
const LOOK: (u32, Duration) = (4, Duration::from_millis(12));

/// There should be where one part in so many was spent waiting.
const WORTH_MORE: u32 = 8;

/// More are in flight where some of the time nothing comes although so many are asked for: it is bytes in flight that fill a
/// line. No more are wanted where the server works without a pause; they would only push its buffers out of the cache. Ours have no memory
/// before an answer comes.
pub(super) struct Pace {
    depth: usize,
    reads: u32,
    since: Instant,
    starved_before: Duration,
}

impl Pace {
    /// `starved`: how long replies were waited for since the connection began, where that was longer than a moment.
    pub(super) fn new(depth: usize, now: Instant, starved: Duration) -> Self {
        Self {
            depth,
            reads: 0,
            since: now,
            starved_before: starved,
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// A read came through.
    pub(super) fn completed(&mut self, now: Instant, starved: Duration, most: usize) {
        self.reads += 1;
        let passed = now.saturating_duration_since(self.since);
        if self.reads < LOOK.0 || passed < LOOK.1 {
            return;
        }
        // A connection that was taken up again counts from nought.
        let waited = starved.saturating_sub(self.starved_before);
        let is_starving = waited * WORTH_MORE > passed;
        let depth = if is_starving { self.depth * 2 } else { self.depth };
        *self = Self::new(depth.min(most.max(self.depth)), now, starved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads that each take `taking`, of which `waiting` is spent without a byte.
    fn after(reads: u32, taking: u64, waiting: u64) -> usize {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::new(4, start, Duration::ZERO);
        for n in 1..=reads {
            pace.completed(start + ms(taking) * n, ms(waiting) * n, 16);
        }
        pace.depth()
    }

    #[test]
    fn a_server_that_is_far_away_is_asked_for_more_up_to_a_limit() {
        assert_eq!([4, 8, 12].map(|reads| after(reads, 5, 4)), [8, 16, 16]);
    }

    #[test]
    fn a_server_that_never_pauses_is_not() {
        assert_eq!(after(1000, 5, 0), 4, "slow, but it sends all the time");
        assert_eq!(after(1000, 10, 1), 4, "now and then it pauses");
    }

    #[test]
    fn some_waits_at_the_begin_decide_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(4, start, Duration::ZERO);
        for _ in 0..100 {
            pace.completed(start + Duration::from_millis(11), Duration::from_millis(11), 16);
        }
        assert_eq!(pace.depth(), 4);
    }

    #[test]
    fn a_connection_that_was_taken_up_again_goes_on_as_deep() {
        let start = Instant::now();
        let mut pace = Pace::new(8, start, Duration::from_secs(5));
        for n in 1..100 {
            pace.completed(start + Duration::from_millis(20) * n, Duration::ZERO, 16);
        }
        assert_eq!(pace.depth(), 8);
    }
}
