//! What a step is: something to do, a way to ask the world whether it is done, and a way back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::OperationError;
use super::world::World;
use crate::cloud::CloudError;
use crate::crash;
use crate::model::{ErrorCode, Failure};
use crate::store::{OperationRecord, StoreError, VolumeRecord};

/// One step of an operation. Every method may be repeated; none trusts what an earlier run of it returned.
#[async_trait]
pub(super) trait Step: Send + Sync {
    /// Its name in the journal, never changed once released.
    fn name(&self) -> &'static str;

    /// Whether the operation can no longer be withdrawn once this step was started.
    fn is_point_of_no_return(&self) -> bool {
        false
    }

    /// Asks the world whether the step's effect is there.
    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError>;

    /// Brings the effect about; says what was observed.
    async fn run(&self, cx: &Context) -> Result<String, StepError>;

    /// Takes the effect back, wholly or partly there as it may be. Nothing to take back: success.
    async fn undo(&self, cx: &Context) -> Result<(), StepError>;
}

/// What the world says of a step that may have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its effect is there.
    Done(String),
    /// Its effect is not there.
    NotDone,
}

/// What a step works with.
pub(super) struct Context {
    pub(super) world: Arc<World>,
    pub(super) op: OperationRecord,
    /// The volume as recorded when the step was entered.
    pub(super) volume: VolumeRecord,
    /// Ends a wait of this step: somebody asked to withdraw the operation, or the daemon stops.
    pub(super) interrupted: CancellationToken,
}

impl Context {
    /// A point at which a test may have the daemon die.
    pub(super) fn crash_point(&self, step: &str, moment: &str) {
        crash::point(|| format!("{}/{step}/{moment}", self.op.request.kind()));
    }
}

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Nothing is decided: ask the world again later.
    #[error("{waiting_for}")]
    Wait {
        /// What is waited for, for people.
        waiting_for: String,
        /// How long until it is worth asking again.
        after: Duration,
    },
    /// A call to the cloud may still land: until then neither it nor its opposite may be sent.
    #[error("{waiting_for}")]
    InDoubt {
        /// What is waited for, for people.
        waiting_for: String,
        /// When it can no longer land.
        until: Timestamp,
    },
    /// It will not be done.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The cloud's present state stands in the way; nothing was done.
    #[error(transparent)]
    Conflict(Failure),
    /// Something stands in the way that may go by itself: waited for within bounds, and then this is why it failed.
    #[error("{0}")]
    Obstructed(Failure),
    /// The step's wait was interrupted; the operation decides what that means.
    #[error("interrupted")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StepError {
    /// Waiting a second for something.
    pub(super) fn wait(waiting_for: impl Into<String>) -> Self {
        Self::Wait {
            waiting_for: waiting_for.into(),
            after: Duration::from_secs(1),
        }
    }

    /// For a step whose conflicts go away by themselves: wait instead of failing.
    pub(super) fn outwaiting_conflicts(self) -> Self {
        match self {
            Self::Conflict(failure) => Self::Obstructed(failure),
            other => other,
        }
    }
}

impl From<OperationError> for StepError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Refused { failure, .. } => Self::Failed(failure),
            OperationError::Store(error) => Self::Store(error),
            OperationError::NotReady(what) => Self::wait(what),
        }
    }
}

impl From<CloudError> for StepError {
    fn from(error: CloudError) -> Self {
        let text = with_causes(&error);
        let code = match &error {
            CloudError::Transient { retry_after, .. } => {
                let after = retry_after.unwrap_or(Duration::from_secs(2));
                return StepError::Wait {
                    waiting_for: format!("the cloud: {text}"),
                    after,
                };
            }
            CloudError::Unknown { .. } => return StepError::wait(format!("the cloud: {text}")),
            CloudError::Conflict { .. } => {
                return StepError::Conflict(Failure::new(ErrorCode::WrongState, text));
            }
            CloudError::NotFound { .. } | CloudError::Refused { .. } => ErrorCode::CloudRefused,
            CloudError::AttachedElsewhere { .. } => ErrorCode::AttachedElsewhere,
            CloudError::NoSpace { .. } => ErrorCode::NoSpace,
        };
        StepError::Failed(Failure::new(code, text))
    }
}

/// An error's text together with the texts of what caused it.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
