//! A cap on requests at once.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many connections a session keeps; each request more would need a handshake of its own.
const USUAL: usize = 16;

/// A cap on requests at once; clones share it. Whoever waits is served in turn, so that of several disks none starves.
///
/// The web server of a vCenter or a host serves the people who manage it as well, and refuses work when it has too much.
#[derive(Debug, Clone)]
pub struct RequestLimit {
    most: usize,
    free: Arc<Semaphore>,
}

impl RequestLimit {
    /// At most so many at once; at least 1.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            most,
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// The cap.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many are under way now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.most - self.free.available_permits()
    }

    /// Waits for one's turn. The place is free again when what is given is dropped.
    pub(super) async fn take(&self) -> SemaphorePermit<'_> {
        self.free.acquire().await.expect("it is never closed")
    }
}

impl Default for RequestLimit {
    /// 16.
    fn default() -> Self {
        Self::new(USUAL)
    }
}
