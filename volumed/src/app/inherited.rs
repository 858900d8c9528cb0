//! Sockets that the service manager opened for us (socket activation, sd_listen_fds(3)).
#![allow(unsafe_code)] // taking possession of descriptors that were passed by number

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::AppError;

/// Whether they were taken: a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that were passed to this process; none at the second call.
///
/// # Errors
/// Where the service manager's variables make no sense or name descriptors that are not open.
pub(super) fn take() -> Result<Vec<OwnedFd>, AppError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let numbers = sd_notify::listen_fds()?;
    // SAFETY: the service manager opened these descriptors for this process alone (`listen_fds` compared LISTEN_PID and
    // found each of them open); nothing else in the process owns them, and `TAKEN` lets them be taken once.
    Ok(numbers.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
}
