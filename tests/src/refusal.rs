//! What the client was told, as tests compare it.

use volume_client::client::ClientError;
use volume_client::types::{ErrorCode, Operation};

/// The code with which the daemon refused.
///
/// # Panics
/// Where it did not refuse.
#[track_caller]
pub fn code_of<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Problem(problem)) => problem.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// The operation that failed.
///
/// # Panics
/// Where none failed.
#[track_caller]
pub fn failed_operation<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Operation {
    match result {
        Err(ClientError::OperationFailed(operation)) => *operation,
        other => panic!("no operation failed: {other:?}"),
    }
}
