//! Why something asked of the daemon was not done.

use crate::model::{Failure, OperationId};
use crate::store::{ChangeError, StoreError};

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// A rule, the volume's state or the kernel stands in the way. Nothing was changed.
    #[error("{failure}")]
    Refused {
        /// Why, and what to do.
        failure: Failure,
        /// The operation that stands in the way, where one does.
        operation: Option<OperationId>,
    },
    /// The database failed. Nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon is starting or stopping.
    #[error("the daemon is not ready: {0}")]
    NotReady(String),
}

impl ChangeError for OperationError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused { .. } | Self::NotReady(_) => None,
        }
    }
}

impl From<Failure> for OperationError {
    fn from(failure: Failure) -> Self {
        Self::Refused {
            failure,
            operation: None,
        }
    }
}
