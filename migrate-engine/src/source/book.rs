//! How sources are found by their names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Source, SourceFailure};

/// Knows how sources are reached: their credentials, and whom to believe to be them.
#[async_trait]
pub trait SourceBook: Send + Sync {
    /// The names of those that are known, in the order in which they were written down. No secrets.
    fn hosts(&self) -> Vec<String>;

    /// Connects to a source.
    ///
    /// # Errors
    /// That it is not known, or cannot be reached.
    async fn connect(&self, vcenter_host: &str) -> Result<Arc<dyn Source>, SourceFailure>;

    /// The workers that are known, and whether each is there.
    fn workers(&self) -> Vec<(String, bool)> {
        Vec::new()
    }

    /// Waits until whoever stands between here and the source is there, at most this long. At once where there is nobody.
    async fn present(&self, _vcenter_host: &str, _patience: Duration) {}
}
