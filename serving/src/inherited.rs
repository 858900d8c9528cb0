//! Sockets that the service manager opened for us (socket activation, sd_listen_fds(3)), by the names it gave them.
#![allow(unsafe_code)] // taking possession of descriptors that were passed by number

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ListenError, Listener};

/// Whether they were taken: a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that were passed to this process and that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Listener)>);

impl Inherited {
    /// Takes them over; none at the second call.
    ///
    /// # Errors
    /// Where the service manager's variables make no sense, or name what is not open or no socket that listens.
    pub fn take() -> Result<Self, ListenError> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Ok(Self::default());
        }
        let passed = sd_notify::listen_fds_with_names().map_err(ListenError::Manager)?;
        let passed = passed.map(|(fd, name)| {
            // SAFETY: the service manager opened these descriptors for this process alone (`listen_fds` compared LISTEN_PID
            // and found each of them open); nothing else in the process owns them, and `TAKEN` lets them be taken once.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok((name, Listener::adopt(fd)?))
        });
        passed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes those of this name (`FileDescriptorName=` of systemd.socket(5)).
    pub fn named(&mut self, name: &str) -> Vec<Listener> {
        let taken = self.0.extract_if(.., |(found, _)| found == name);
        taken.map(|(_, listener)| listener).collect()
    }

    /// Takes all that are left, whatever their names.
    pub fn rest(&mut self) -> Vec<Listener> {
        let left = std::mem::take(&mut self.0);
        left.into_iter().map(|(_, listener)| listener).collect()
    }

    /// Refuses what nobody took: callers would wait at it for ever. `known` are the names that there are.
    ///
    /// # Errors
    /// [`ListenError::UnknownName`].
    pub fn none_left(self, known: &'static str) -> Result<(), ListenError> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(ListenError::UnknownName { name, known }),
            None => Ok(()),
        }
    }
}
