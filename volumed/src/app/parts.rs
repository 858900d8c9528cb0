//! The parts that work: the kernel's watcher, the cloud, the operations, the reconciler.

use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::api::FindingSource;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::operation::Operations;
use crate::store::Store;

/// What was started, and what it takes to use it.
pub(super) struct Parts {
    pub(super) operations: Operations,
    pub(super) findings: FindingSource,
}

impl Parts {
    /// Returns the name of the first part that ended by itself.
    pub(super) async fn ended(&self) -> &'static str {
        std::future::pending().await
    }
}

/// Starts them, lowest first; recovery has finished when it returns.
#[allow(clippy::unimplemented, clippy::unused_async)]
pub(super) async fn start(
    _config: &Config,
    _store: &Store,
    _metrics: &Metrics,
    _stopping: &CancellationToken,
) -> Result<Parts, AppError> {
    unimplemented!()
}
