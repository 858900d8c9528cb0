//! Keeps what is in a process's memory out of files: there are secrets in it.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Why a core dump may still be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep this process from being dumped: a core dump would hold its secrets")]
pub struct PrivacyError(#[source] io::Error);

/// The one limit that keeps the kernel from writing a file *and* from piping to a handler; nought does not stop the latter.
/// Source: `fs/coredump.c` ("RLIMIT_CORE of 1 … don't dump"), core(5).
const NEITHER_FILE_NOR_PIPE: u64 = 1;

/// From here on no core dump is made of this process, nor of programs that it starts. Repeating it changes nothing.
///
/// # Errors
/// [`PrivacyError`] where the kernel refuses.
pub fn forbid_core_dumps() -> Result<(), PrivacyError> {
    let limit = Rlimit {
        current: Some(NEITHER_FILE_NOR_PIPE),
        maximum: Some(NEITHER_FILE_NOR_PIPE),
    };
    setrlimit(Resource::Core, limit).map_err(|error| PrivacyError(error.into()))
}

/// As [`forbid_core_dumps`], and nobody but root reads this process's memory, environment or descriptors. Not for a process
/// whose descriptors others open through `/proc`, as the engine's NBD servers do. Source: prctl(2) `PR_SET_DUMPABLE`.
///
/// # Errors
/// [`PrivacyError`] where the kernel refuses.
pub fn keep_memory_private() -> Result<(), PrivacyError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| PrivacyError(error.into()))?;
    forbid_core_dumps()
}
