//! What a program of ours tells of itself: its log, its process, its traces; and what it keeps to itself.
//!
//! Daemon and engine share this, so that one id can be followed through both of them by the same words.

pub mod exposition;
pub mod families;
pub mod log;
mod privacy;
mod process;
pub mod trace;

pub use privacy::{PrivacyError, forbid_core_dumps, keep_memory_private};
pub use process::Process;
