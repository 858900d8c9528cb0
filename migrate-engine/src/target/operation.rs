//! Waiting for what was asked of the daemon, and taking it back where nobody wants it any more.

use std::time::Duration;

use volume_client::types::Operation;
use volume_client::{ClientError, VolumedClient};

use super::{Subject, TargetError};
use crate::block::Cancel;

/// How long an operation that was taken back may take to end.
const TAKE_BACK: Duration = Duration::from_secs(30);
/// How often the flag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Returns once somebody wants the work stopped.
pub async fn stopped(cancel: &Cancel) {
    let mut look = tokio::time::interval(LOOK);
    while !cancel.is_cancelled() {
        look.tick().await;
    }
}

/// Waits until an operation ended. Where somebody stops the work, or it takes too long, it is taken back; an operation
/// that completed all the same is reported as completed.
pub(super) async fn finish(
    client: &VolumedClient,
    operation: &Operation,
    timeout: Duration,
    cancel: &Cancel,
) -> Result<Operation, Unfinished> {
    let ended = tokio::select! {
        ended = client.wait_for_completion(operation.id, timeout) => ended,
        () = stopped(cancel) => return take_back(client, operation).await.map_err(|_| Unfinished::Stopped),
    };
    match ended {
        Err(late @ ClientError::WaitTimeout { .. }) => {
            take_back(client, operation)
                .await
                .map_err(|unknown| match unknown {
                    // It is known now that it did not happen.
                    ClientError::OperationCancelled(_) => Unfinished::Failed(late),
                    other => Unfinished::Failed(other),
                })
        }
        ended => ended.map_err(Unfinished::Failed),
    }
}

/// Why there is no completed operation.
pub(super) enum Unfinished {
    Stopped,
    Failed(ClientError),
}

impl Unfinished {
    pub(super) fn doing(self, doing: &'static str, subject: Subject<'_>) -> TargetError {
        match self {
            Self::Stopped => TargetError::Stopped,
            Self::Failed(source) => TargetError::Daemon {
                doing,
                subject: subject.to_string(),
                source,
            },
        }
    }
}

async fn take_back(client: &VolumedClient, operation: &Operation) -> Result<Operation, ClientError> {
    // Refused once it cannot be taken back any more; then it completes soon.
    if let Err(error) = client.cancel_operation(operation.id).await {
        tracing::debug!(operation = %operation.id, %error, "cannot take an operation back");
    }
    client.wait_for_completion(operation.id, TAKE_BACK).await
}
