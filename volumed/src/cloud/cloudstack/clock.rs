//! The server's clock as its answers show it: signatures expire by that clock, not by ours.

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// An answer that took longer tells too little about the time.
const SLOWEST: SignedDuration = SignedDuration::from_secs(10);

/// How far the server's clock is ahead of ours, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    skew: Mutex<Option<SignedDuration>>,
}

impl ServerClock {
    /// Learns from the `Date` header of an answer to a request sent and answered at these times of ours.
    pub(super) fn observe(&self, date: &str, sent: Timestamp, answered: Timestamp) {
        let took = answered.duration_since(sent);
        if took > SLOWEST || took.is_negative() {
            return;
        }
        if let Ok(said) = DateTimeParser::new().parse_timestamp(date) {
            // The header is cut to whole seconds, and was written at some time on the way.
            let then = said.saturating_add(SignedDuration::from_millis(500));
            let ours = sent.saturating_add(took / 2);
            if let (Ok(then), Ok(ours)) = (then, ours) {
                *self.skew.lock() = Some(then.duration_since(ours));
            }
        }
    }

    /// How far the server's clock is ahead of ours; `None` before the first answer.
    pub(super) fn skew(&self) -> Option<SignedDuration> {
        *self.skew.lock()
    }

    /// When a request that is signed now expires, as the server wants it written.
    pub(super) fn expires(&self, now: Timestamp, lifetime: SignedDuration) -> String {
        let ahead = self.skew().unwrap_or_default();
        let expires = now
            .saturating_add(ahead.saturating_add(lifetime))
            .unwrap_or(Timestamp::MAX);
        expires.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(784_111_777 + second).unwrap()
    }

    #[test]
    fn expiry_follows_the_servers_clock() {
        let clock = ServerClock::default();
        let lifetime = SignedDuration::from_secs(60);
        assert_eq!(clock.expires(at(0), lifetime), "1994-11-06T08:50:37+0000");
        clock.observe("Sun, 06 Nov 1994 08:59:37 GMT", at(-1), at(1));
        assert_eq!(clock.skew().unwrap().as_secs(), 600);
        assert_eq!(clock.expires(at(0), lifetime), "1994-11-06T09:00:37+0000");
    }

    #[test]
    fn what_tells_nothing_is_passed_over() {
        let clock = ServerClock::default();
        clock.observe("yesterday", at(0), at(0));
        clock.observe("Sun, 06 Nov 1994 08:49:37 GMT", at(0), at(60));
        clock.observe("Sun, 06 Nov 1994 08:49:37 GMT", at(1), at(0));
        assert_eq!(clock.skew(), None);
    }
}
