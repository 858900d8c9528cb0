//! Takes a step: recorded before and after.

use std::future::Future;

use tracing::Instrument as _;

use super::ReplicationError;
use crate::model::Step;
use crate::store::{Store, Turn};

#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub(super) store: &'a Store,
    pub(super) turn: &'a Turn,
}

impl Steps<'_> {
    /// Does `work` as this step of the job.
    pub(super) async fn take<T>(
        self,
        step: Step,
        work: impl Future<Output = Result<T, ReplicationError>>,
    ) -> Result<T, ReplicationError> {
        self.store.begin_step(self.turn, step)?;
        let span = tracing::info_span!("step", step = step.as_str());
        let done = work.instrument(span).await;
        let (outcome, detail) = match &done {
            Ok(_) => ("done", None),
            Err(error) if error.is_cancelled() => ("cancelled", None),
            Err(error) => ("failed", Some(error.chain())),
        };
        let recorded = self.store.end_step(self.turn, step, outcome, detail.as_deref());
        let done = done?;
        recorded?;
        Ok(done)
    }
}
