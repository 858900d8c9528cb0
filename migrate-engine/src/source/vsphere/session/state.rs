//! Whether we are logged in, since when, and by which cookie.

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

/// The state of a session's login.
#[derive(Default)]
pub(super) struct LoginState {
    gate: tokio::sync::Mutex<()>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// How often we logged in.
    generation: u64,
    cookie: Option<String>,
    has_ended: bool,
}

impl LoginState {
    /// Holds others off while somebody logs in.
    pub(super) async fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    pub(super) fn generation(&self) -> u64 {
        self.current.lock().generation
    }

    pub(super) fn cookie(&self) -> Option<String> {
        self.current.lock().cookie.clone()
    }

    /// The number of logins and the cookie, unless the session was ended.
    pub(super) fn current(&self) -> Option<(u64, Option<String>)> {
        let current = self.current.lock();
        (!current.has_ended).then(|| (current.generation, current.cookie.clone()))
    }

    /// We logged in.
    pub(super) fn renewed(&self, cookie: Option<String>) {
        let mut current = self.current.lock();
        current.generation += 1;
        current.cookie = cookie;
    }

    /// Ends the session for good; gives the cookie to log out with, once.
    pub(super) fn end(&self) -> Option<String> {
        let mut current = self.current.lock();
        current.has_ended = true;
        current.cookie.take()
    }
}
