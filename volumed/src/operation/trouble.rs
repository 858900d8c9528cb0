//! What an error of a step means for its operation: wait, doubt, or undo.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use volume_client::types::ConditionKind;

use super::executor::{Executor, Halt, is_beyond_undoing, is_past_return};
use super::step::{Context, Step, StepError, with_causes};
use super::{cloud_call, steps};
use crate::model::{ErrorCode, Failure, JournalLine, StepState};
use crate::store::{self, StoreError};

/// What a person can do about a failure that came of waiting too long.
const NOTHING_HALF_DONE: &str = "nothing is left half-done; try again when it works";
/// How long until an obstacle is looked at again.
const RETRY: Duration = Duration::from_secs(1);
/// How long until the cloud is asked again for what something stood in the way of. Each try is a job in a queue of one per
/// VM; a change of the devices ends the pause early.
const ASK_CLOUD_AGAIN: Duration = Duration::from_secs(10);
/// No wait is shorter, whatever a provider asks for: it would be a busy loop.
const SHORTEST: Duration = Duration::from_millis(500);

/// How long from `now` until a call in doubt can no longer land. Never nothing: a provider whose calls expire at once, and whose
/// every call is in doubt, is not asked in a busy loop.
pub(super) fn until_settled(until: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    left.max(SHORTEST)
}

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
        let beyond_undoing = is_beyond_undoing(steps::of(cx.op.request.kind()), journal);
        match error {
            StepError::Interrupted => Ok(()),
            StepError::InDoubt { waiting_for, until } => self.doubt(cx, waiting_for, until).await,
            // What was done cannot be taken back, so the way is forward; only the obstacle can go.
            StepError::Failed(failure) | StepError::Conflict(failure) if beyond_undoing => {
                self.pause(cx, &failure.message, RETRY).await
            }
            StepError::Failed(failure) | StepError::Conflict(failure) => self.fail(cx, step, failure).await,
            StepError::Store(error) if !error.is_about_rows() => Err(error.into()),
            // Another row is in the way: it may go by itself, as a mapping does whose device is gone.
            StepError::Store(error) => {
                let failure =
                    Failure::new(ErrorCode::WrongState, with_causes(&error)).hint(NOTHING_HALF_DONE);
                let obstacle = Obstacle {
                    failure,
                    after: RETRY,
                };
                self.wait(cx, step, journal, patience, obstacle).await
            }
            StepError::Obstructed(failure) => {
                let obstacle = Obstacle {
                    failure,
                    after: ASK_CLOUD_AGAIN,
                };
                self.wait(cx, step, journal, patience, obstacle).await
            }
            StepError::Wait { waiting_for, after } => {
                let failure = Failure::new(ErrorCode::CloudUnavailable, waiting_for).hint(NOTHING_HALF_DONE);
                let obstacle = Obstacle { failure, after };
                self.wait(cx, step, journal, patience, obstacle).await
            }
        }
    }

    async fn doubt(&self, cx: &Context, waiting_for: String, until: Timestamp) -> Result<(), Halt> {
        let volume = cx.volume.id;
        let hint = "nothing is sent until it can no longer land; then the cloud is asked";
        self.world
            .conditions
            .raise(volume, ConditionKind::Unknown, waiting_for.clone(), hint);
        self.say_waiting(cx, &waiting_for).await?;
        // Not cut short by a wish to cancel: an opposite call must not be sent either.
        self.sleep(until_settled(until, self.world.store.now())).await?;
        self.world.conditions.clear(volume, ConditionKind::Unknown);
        Ok(())
    }

    async fn wait(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
        patience: &mut Patience,
        obstacle: Obstacle,
    ) -> Result<(), Halt> {
        let gave_up = patience.is_over(self.world.settings.cloud_patience);
        if gave_up && self.may_fail(cx, step, journal).await? {
            let failure = Failure {
                message: format!("gave up waiting: {}", obstacle.failure.message),
                ..obstacle.failure
            };
            return self.fail(cx, step, failure).await;
        }
        self.pause(cx, &obstacle.failure.message, obstacle.after).await
    }

    async fn pause(&self, cx: &Context, waiting_for: &str, after: Duration) -> Result<(), Halt> {
        self.say_waiting(cx, waiting_for).await?;
        self.wait_for_change(cx, after.max(SHORTEST)).await;
        Ok(())
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

/// What a step waits for.
struct Obstacle {
    /// What it is, and why the operation failed where nobody waits any longer.
    failure: Failure,
    /// How long until it is worth asking again.
    after: Duration,
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
