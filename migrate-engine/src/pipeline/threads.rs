//! Work that blocks, on a thread of its own, watched.

use std::sync::Arc;

use tracing::Span;

use super::PipelineError;
use super::machine::{Doing, Watch};
use crate::block::Cancel;
use crate::transfer::{Progress, TransferError};

/// Runs `work` about `disk` on a thread of its own, and shows its progress to `watch`.
pub(super) async fn on_threads<T: Send + 'static>(
    watch: &dyn Watch,
    doing: Doing,
    disk: &str,
    cancel: &Cancel,
    work: impl FnOnce(&Progress, &Cancel) -> Result<T, TransferError> + Send + 'static,
) -> Result<Result<T, TransferError>, PipelineError> {
    let progress = Arc::new(Progress::new());
    watch.moving(doing, disk, &progress);
    let (of, cancel) = (Arc::clone(&progress), cancel.clone());
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&of, &cancel))).await;
    watch.done();
    done.map_err(|_| PipelineError::Panicked)
}
