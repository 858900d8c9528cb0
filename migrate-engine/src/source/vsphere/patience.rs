//! How long we wait for a vCenter.

use std::time::Duration;

/// How long is waited for what. Nothing is waited for without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, with the handshake of TLS.
    pub connect: Duration,
    /// For the whole answer to a call.
    pub answer: Duration,
    /// For the next bytes of a file.
    pub stall: Duration,
    /// For a task of the vCenter, such as the removal of a snapshot. What is over then is our patience, not the task.
    pub task: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            task: Duration::from_secs(3600),
        }
    }
}
