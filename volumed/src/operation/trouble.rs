//! What an error of a step means for its operation: wait, doubt, or undo.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use volume_client::types::ConditionKind;

use super::executor::{Executor, Halt, is_past_return};
use super::step::{Context, Step, StepError};
use super::{cloud_call, steps};
use crate::model::{ErrorCode, Failure, JournalLine, StepState};
use crate::store::{self, StoreError};

impl Executor {
    /// What an error of a step means for its operation.
    pub(super) async fn met(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
        patience: &mut Patience,
        error: StepError,
    ) -> Result<(), Halt> {
        match error {
            StepError::Failed(failure) | StepError::Conflict(failure) => self.fail(cx, step, failure).await,
            StepError::Interrupted => Ok(()),
            StepError::Store(error) => Err(error.into()),
            StepError::InDoubt { waiting_for, until } => {
                let volume = cx.volume.id;
                let hint = "nothing is sent until it can no longer land; then the cloud is asked";
                self.world
                    .conditions
                    .raise(volume, ConditionKind::Unknown, waiting_for.clone(), hint);
                self.say_waiting(cx, &waiting_for).await?;
                let left = until.duration_since(Timestamp::now());
                // Not cut short by a wish to cancel: an opposite call must not be sent either.
                self.sleep(Duration::try_from(left).unwrap_or_default()).await?;
                self.world.conditions.clear(volume, ConditionKind::Unknown);
                Ok(())
            }
            StepError::Wait { waiting_for, after } => {
                let gave_up = patience.is_over(self.world.settings.cloud_patience);
                if gave_up && self.may_fail(cx, step, journal).await? {
                    let failure = Failure::new(
                        ErrorCode::CloudUnavailable,
                        format!("gave up waiting for {waiting_for}"),
                    )
                    .hint("nothing is left half-done; try again when it works");
                    return self.fail(cx, step, failure).await;
                }
                self.say_waiting(cx, &waiting_for).await?;
                self.wait_for_change(cx, after).await;
                Ok(())
            }
        }
    }

    /// Whether giving up at this step leaves nothing undecided behind.
    async fn may_fail(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
    ) -> Result<bool, StoreError> {
        if !step.is_point_of_no_return() {
            return Ok(!is_past_return(steps::of(cx.op.request.kind()), journal));
        }
        match cloud_call::was_sent(cx, step.name()).await {
            Ok(sent) => Ok(!sent),
            Err(StepError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn fail(&self, cx: &Context, step: &dyn Step, failure: Failure) -> Result<(), Halt> {
        tracing::warn!(operation = %cx.op.id, volume = %cx.volume.id, step = step.name(), %failure, "step failed");
        let (id, name) = (cx.op.id, step.name());
        self.world
            .store
            .write(move |tx| {
                store::journal::append(tx, id, name, StepState::Failed, Some(&failure.message))?;
                store::operations::set_failure(tx, id, &failure)
            })
            .await?;
        Ok(())
    }
}

/// How long the present step has been waiting.
#[derive(Default)]
pub(super) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn renew(&mut self) {
        self.since = None;
    }

    fn is_over(&mut self, patience: Duration) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() > patience
    }
}
