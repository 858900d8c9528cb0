//! Which uevents never came: the book kept of their sequence numbers.
//!
//! The kernel numbers events before it sends them, and two processors may send in another order than they numbered. So
//! a number that was jumped over is only *missing* at first, and *lost* when it has not come within a grace period.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a missing event may still come. Sending takes microseconds; a descheduled sender somewhat longer.
const GRACE: Duration = Duration::from_millis(50);

/// What was found lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lost {
    /// Runs of consecutive numbers.
    pub(super) gaps: u64,
    /// Events.
    pub(super) events: u64,
}

/// The numbers seen so far.
#[derive(Debug)]
pub(super) struct SequenceBook {
    highest: u64,
    missing: Vec<Missing>,
}

#[derive(Debug)]
struct Missing {
    numbers: RangeInclusive<u64>,
    since: Instant,
}

impl SequenceBook {
    /// A book that begins after event `highest`, the last one sent before we listened.
    pub(super) fn after(highest: u64) -> SequenceBook {
        SequenceBook {
            highest,
            missing: Vec::new(),
        }
    }

    /// Notes that event `number` has come. Says whether others before it are missing now that were not before.
    pub(super) fn came(&mut self, number: u64, now: Instant) -> bool {
        if number <= self.highest {
            self.came_late(number);
            return false;
        }
        let jumped = self.sent(number - 1, now);
        self.highest = number;
        jumped
    }

    /// Notes that the kernel has sent everything up to `number`. Says whether some of it is missing now.
    pub(super) fn sent(&mut self, number: u64, now: Instant) -> bool {
        if number <= self.highest {
            return false;
        }
        self.missing.push(Missing {
            numbers: self.highest + 1..=number,
            since: now,
        });
        self.highest = number;
        true
    }

    /// When the oldest missing event counts as lost.
    pub(super) fn next_verdict(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.since + GRACE).min()
    }

    /// Takes out what counts as lost by now.
    pub(super) fn take_lost(&mut self, now: Instant) -> Lost {
        let mut lost = Lost::default();
        self.missing.retain(|missing| {
            let keep = now < missing.since + GRACE;
            if !keep {
                lost.gaps += 1;
                lost.events += missing.numbers.end() - missing.numbers.start() + 1;
            }
            keep
        });
        lost
    }

    fn came_late(&mut self, number: u64) {
        let Some(at) = self
            .missing
            .iter()
            .position(|missing| missing.numbers.contains(&number))
        else {
            return;
        };
        let Missing { numbers, since } = self.missing.swap_remove(at);
        let rest = [*numbers.start()..=number - 1, number + 1..=*numbers.end()];
        let rest = rest.into_iter().filter(|range| !range.is_empty());
        self.missing
            .extend(rest.map(|numbers| Missing { numbers, since }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_order_are_no_gap() {
        let (mut book, now) = (SequenceBook::after(10), Instant::now());
        assert!((11..=20).all(|number| !book.came(number, now)));
        assert!(!book.sent(20, now));
        assert_eq!(book.take_lost(now + GRACE), Lost::default());
        assert_eq!(book.next_verdict(), None);
    }

    #[test]
    fn a_number_that_comes_late_is_not_lost() {
        let (mut book, now) = (SequenceBook::after(0), Instant::now());
        assert!(book.came(4, now));
        assert_eq!(book.next_verdict(), Some(now + GRACE));
        for late in [2, 1, 3] {
            assert!(!book.came(late, now));
        }
        assert_eq!(book.take_lost(now + GRACE), Lost::default());
    }

    #[test]
    fn a_number_that_does_not_come_in_time_is_lost_once() {
        let (mut book, now) = (SequenceBook::after(0), Instant::now());
        book.came(5, now);
        book.came(2, now);
        assert_eq!(book.take_lost(now), Lost::default(), "still within its grace");
        assert_eq!(book.take_lost(now + GRACE), Lost { gaps: 2, events: 3 });
        assert_eq!(book.take_lost(now + GRACE), Lost::default());
    }

    #[test]
    fn the_tail_is_missing_when_the_kernel_has_sent_more() {
        let (mut book, now) = (SequenceBook::after(7), Instant::now());
        assert!(book.sent(9, now));
        assert!(!book.came(9, now), "late, not new");
        assert!(!book.came(10, now));
        assert_eq!(book.take_lost(now + GRACE), Lost { gaps: 1, events: 1 });
    }
}
