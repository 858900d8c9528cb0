//! The server's clock: this machine's, set wrong by as much as a test wants.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// A clock that can be shifted. Expiry and the `Date` header follow it; delays do not.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<SignedDuration>);

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock()
    }

    /// Sets how much it is ahead of this machine's.
    pub(super) fn set_ahead(&self, by: SignedDuration) {
        *self.0.lock() = by;
    }

    /// Now, as HTTP writes it.
    pub(super) fn http_date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}
