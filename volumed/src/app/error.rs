//! Why the daemon could not start, or had to end.

use std::io;

use crate::store::StoreError;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket could not be served.
    #[error(transparent)]
    Listen(#[from] serving::ListenError),
    /// The process could not be set up.
    #[error("cannot set up the process")]
    Process(#[from] io::Error),
    /// A part of the daemon could not be started.
    #[error("cannot start {part}")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A task that lives as long as the daemon ended before it.
    #[error("the daemon's {task} ended by itself")]
    Ended {
        /// Which.
        task: &'static str,
    },
}
