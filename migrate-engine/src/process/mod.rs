//! External tools as children of ours: no shell, bounded time, memory, processor and output, dead when we die.
//!
//! Guarantees for every child:
//! - its program and arguments go to `execve` as they are; no shell ever sees them;
//! - standard input is `/dev/null`, the environment holds `PATH` and `LC_ALL=C` only;
//! - it has a process group of its own, so that Ctrl-C on the terminal reaches us and not it: the order of an
//!   orderly stop is ours to choose;
//! - it is killed when its handle is dropped, and by the kernel when this process dies, however it dies.
//!
//! A child's death signal is bound to the *thread* that started it, not to the process. So all children are started
//! by one thread that lives as long as the process does.

mod capture;
mod child;
mod command;
mod daemon;
mod error;
mod spawn;
#[cfg(test)]
mod tests;

pub use command::{Command, Limits, Output, Tool};
pub use daemon::Daemon;
pub use error::ProcessError;

/// Images: inspect, check, compare.
pub const QEMU_IMG: Tool = Tool {
    program: "qemu-img",
    package: "qemu-utils",
};
/// Disks of many kinds served as NBD, by plugins.
pub const NBDKIT: Tool = Tool {
    program: "nbdkit",
    package: "nbdkit",
};
/// Images served as NBD.
pub const QEMU_NBD: Tool = Tool {
    program: "qemu-nbd",
    package: "qemu-utils",
};
