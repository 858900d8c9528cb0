//! Long file work on a thread of its own that stops when nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SourceError;

/// Tells the work that it was given up.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// To be asked between pieces of work, about every mebibyte.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        if self.0.load(Ordering::Relaxed) {
            Err(SourceError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Cancels when the waiting future is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` where it may block. Dropping the future cancels the work.
pub(super) async fn run<T, F>(work: F) -> Result<T, SourceError>
where
    T: Send + 'static,
    F: FnOnce(&Cancel) -> Result<T, SourceError> + Send + 'static,
{
    let cancel = Cancel::default();
    let _guard = CancelOnDrop(cancel.clone());
    match tokio::task::spawn_blocking(move || work(&cancel)).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(SourceError::Cancelled),
    }
}
