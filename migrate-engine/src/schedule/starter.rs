//! Who does what is due.

use async_trait::async_trait;

use super::Selection;

/// Starts the workflow that a person's request starts, beginning with a fresh discovery.
#[async_trait]
pub trait Starter: Send + Sync {
    /// Starts one selection of a schedule's run, and returns once its job is recorded: not when it has ended. It is called
    /// once for each run, and never again where it fails.
    ///
    /// # Errors
    /// Why no job was started, for a person. It is recorded, and stops neither the run's other selections nor other runs.
    async fn start(&self, schedule: &str, selection: &Selection) -> Result<String, String>;
}
