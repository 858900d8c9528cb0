//! The wall clock, and how to wait for an instant of it.

use std::time::Duration;

use jiff::Timestamp;

/// The longest sleep: clocks are set and machines are suspended, and no timer says so.
const LONGEST: Duration = Duration::from_secs(60);

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present instant. It may be set back or forward at any time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Sleeps towards `until`, a minute at most. Whoever wakes looks at the clock again.
pub(super) async fn nap(clock: &dyn Clock, until: Option<Timestamp>) {
    let left = until.map_or(LONGEST, |until| {
        // Nothing is left where the instant has passed.
        Duration::try_from(until.duration_since(clock.now())).unwrap_or_default()
    });
    tokio::time::sleep(left.min(LONGEST)).await;
}
