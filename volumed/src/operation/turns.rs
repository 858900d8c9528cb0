//! Whose turn it is: operations that were taken wait here, run in tasks of their own, and make room for the next.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::FutureExt;
use telemetry::trace;
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::executor::{Executor, Halt};
use super::step::with_causes;
use crate::model::OperationId;
use crate::store::OperationRecord;

impl Executor {
    /// Takes an operation that is recorded as open, as a part of the trace that asked for it.
    pub(super) fn take(self: &Arc<Self>, id: OperationId, origin: trace::Context) {
        self.origins.lock().insert(id, origin);
        self.queue.lock().push(id);
        self.start_waiting();
    }

    fn start_waiting(self: &Arc<Self>) {
        while !self.stopping.is_cancelled() {
            let Some(id) = self.queue.lock().start_next() else {
                return;
            };
            let cancel = self.stopping.child_token();
            self.cancels.lock().insert(id, cancel.clone());
            let span = self.span_of(id);
            let executor = Arc::clone(self);
            self.tasks.spawn(async move {
                executor.drive_to_rest(id, &cancel).instrument(span).await;
                executor.cancels.lock().remove(&id);
                executor.queue.lock().ended(id);
                executor.start_waiting();
            });
        }
    }

    /// What every line about the operation is told under, whoever it is that starts it.
    fn span_of(&self, id: OperationId) -> Span {
        let span = tracing::info_span!(
            parent: None, "operation", operation_id = %id, request_id = Empty, kind = Empty, volume_id = Empty
        );
        let origin = self.origins.lock().remove(&id);
        origin.unwrap_or_default().adopt(&span);
        span
    }

    /// Tells a running operation that somebody wants it withdrawn; the wish itself is in the store.
    pub(super) fn cancel(&self, id: OperationId) {
        if let Some(token) = self.cancels.lock().get(&id) {
            token.cancel();
        }
    }

    pub(super) fn queue_depth(&self) -> usize {
        self.queue.lock().depth()
    }

    /// Starts nothing new, lets running steps reach a recorded point, and returns when all has come to rest.
    pub(super) async fn shut_down(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn drive_to_rest(&self, id: OperationId, cancel: &CancellationToken) {
        let mut pause = Duration::from_millis(200);
        // A field that is recorded again stands in each line once more.
        let naming = Once::new();
        loop {
            // A panic is a defect of ours; the slot and the operation are not lost to it.
            let driven = AssertUnwindSafe(self.drive(id, cancel, &naming))
                .catch_unwind()
                .await;
            match driven.unwrap_or(Err(Halt::Panicked)) {
                Ok(()) => return,
                Err(Halt::Stopping) => {
                    tracing::info!("left at a recorded point; the next start goes on");
                    return;
                }
                Err(Halt::Store(error)) => {
                    tracing::error!(error = with_causes(&error), "the journal cannot be written");
                }
                Err(Halt::Panicked) => {
                    tracing::error!("a step panicked; the operation goes on from its journal");
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.world.store.failed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }
}

/// Puts into the present span what the record says of the operation.
pub(super) fn name_span(op: &OperationRecord) {
    let span = Span::current();
    if let Some(request_id) = &op.request_id {
        span.record("request_id", request_id);
    }
    span.record("kind", op.request.kind().as_str());
    span.record("volume_id", display(op.volume_id));
}
