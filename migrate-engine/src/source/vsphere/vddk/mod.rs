//! Disks read by VMware's own library (VDDK), through nbdkit and its plugin for it, where somebody has installed them.
//!
//! Each disk has an nbdkit of its own for as long as it is read, on a Unix socket in a private folder. The library reads the
//! snapshot's disk with all that lies below it, so that it can what `/folder` cannot: vSAN, vVols, snapshots of others. It takes
//! the way that the host offers, and tells what of a disk is in use.
//!
//! Guarantees:
//! - the password reaches nbdkit by a file that only we may read, which is gone as soon as nbdkit has read it: no argument,
//!   environment, log or error has it;
//! - a dropped reader's nbdkit closes its disk and ends, is killed where it does not, and is waited for before its snapshot is
//!   removed;
//! - the kernel ends it when this process dies. It is not given `--exit-with-parent`, with which nbdkit asks for `SIGTERM` in the
//!   place of the `SIGKILL` that all children of ours are to get. Debian's 1.32.5 does so without being asked (seen by strace):
//!   there, a library that is stuck in a call keeps its nbdkit until the call ends.
//!
//! One connection to each: several handles of the library slow each other down, and nothing of it is to be read twice at once.

mod arguments;
mod check;
mod disk;
mod error;
mod server;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::{Credentials, Endpoint, Thumbprint};
use crate::config::VddkSettings;
pub use disk::VddkDisk;
pub use error::VddkError;
use server::Server;

/// How disks are read through VMware's library.
#[derive(Debug, Clone)]
pub struct Vddk {
    settings: VddkSettings,
    run_dir: PathBuf,
    ready_within: Duration,
}

/// Who the library is for the vCenter or host, and whom it believes to be it.
#[derive(Debug, Clone)]
pub struct VddkLogin {
    /// The vCenter or host.
    pub server: Endpoint,
    /// Who we are there.
    pub credentials: Credentials,
    /// The certificate that was judged before.
    pub thumbprint: Thumbprint,
}

/// A disk as a snapshot froze it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VddkPlace {
    /// The machine's id: `vm-57`.
    pub machine: String,
    /// The snapshot's id: `snapshot-70`.
    pub snapshot: String,
    /// The link of the disk that the snapshot froze: `[datastore] folder/file.vmdk`.
    pub file: String,
    /// What people call the disk.
    pub label: String,
    /// Its size in bytes.
    pub capacity: u64,
}

impl Vddk {
    /// The library of `settings`; the sockets of its servers lie in folders of `run_dir`.
    #[must_use]
    pub fn new(settings: VddkSettings, run_dir: PathBuf) -> Self {
        Self {
            settings,
            run_dir,
            ready_within: Duration::from_secs(30),
        }
    }

    /// The same, with another bound for how long nbdkit may take to be there.
    #[must_use]
    pub fn ready_within(self, ready_within: Duration) -> Self {
        Self { ready_within, ..self }
    }

    /// Starts an nbdkit for the disk and connects to it. Nothing outside of `allocated` (in order, disjoint) is read: it is taken
    /// for zero, so it has to be what is in use since the disk's creation. The end of the nbdkit is a task of `ends`.
    ///
    /// # Errors
    /// What kept nbdkit, or the library, from the disk; no process and no file is left.
    pub async fn open(
        &self,
        login: &VddkLogin,
        place: &VddkPlace,
        allocated: Option<Arc<[Range<u64>]>>,
        ends: &TaskTracker,
    ) -> Result<VddkDisk, VddkError> {
        let server = Server::start(self, login, place, ends).await?;
        VddkDisk::connect(server, place, allocated).await
    }
}
