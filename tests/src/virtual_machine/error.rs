//! What can go wrong with a machine, the emulator's own death apart from everything else.

use std::io;
use std::time::Duration;

use super::qmp::QmpError;

/// Why something could not be done with a machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The emulator died by itself. What was under test is neither proven nor refuted: a long run counts this, boots
    /// another machine and goes on. QEMU 7.2 crashes now and then in hot-unplug under load.
    #[error("the emulator died ({how}); it said: {said}")]
    EmulatorDied {
        /// How its process ended.
        how: String,
        /// Its standard error.
        said: String,
    },
    /// The guest's kernel, or its first process, is broken.
    #[error("the guest is broken: {line}; its console:\n{console}")]
    GuestBroken {
        /// The line of the console that says so.
        line: String,
        /// The whole console.
        console: String,
    },
    /// The guest has not done it in time.
    #[error("the guest needs more than {limit:?} for {what}; its console:\n{console}")]
    TimedOut {
        /// What was asked for.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// The whole console.
        console: String,
    },
    /// The agent in the guest could not do it.
    #[error("{what} in the guest: {why}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The agent's words.
        why: String,
    },
    /// QEMU could not do it.
    #[error(transparent)]
    Emulator(#[from] QmpError),
    /// The host's side of it failed.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl MachineError {
    /// Whether nothing follows from the failure about what was under test.
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        matches!(self, Self::EmulatorDied { .. } | Self::Emulator(QmpError::Gone))
    }

    pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}
