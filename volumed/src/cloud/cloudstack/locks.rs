//! Locks by name: who changes a volume keeps others of this process from changing it too.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Locks, each there while somebody holds or awaits it.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl Locks {
    /// Waits for the lock `name` and holds it until the guard is dropped.
    pub(super) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        self.lock(name).lock_owned().await
    }

    fn lock(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_has_one_holder_and_nothing_is_kept() {
        let locks = Locks::default();
        let held = locks.hold("a").await;
        assert!(locks.lock("a").try_lock().is_err());
        let _other = locks.hold("b").await;
        drop(held);
        assert!(locks.lock("a").try_lock().is_ok());
        drop(locks.lock("c"));
        assert!(locks.0.lock().len() <= 2, "{:?}", locks.0.lock().keys());
    }
}
