//! Why the daemon could not start, or had to end.

use std::io;

use crate::auth::{NotLoopback, SocketError};
use crate::store::StoreError;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Unix socket could not be served.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An address that is not served.
    #[error(transparent)]
    NotLoopback(#[from] NotLoopback),
    /// The TCP address could not be served.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A socket that the service manager passed on cannot be served.
    #[error("cannot serve file descriptor {fd} of the service manager: {why}")]
    Inherited {
        /// Its number.
        fd: i32,
        /// Why.
        why: String,
    },
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
