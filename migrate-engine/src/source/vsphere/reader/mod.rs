//! A disk that is read through `/folder` of a vCenter or a host, in many ranges at once: what a copy reads from.
//!
//! Each range is one request over a connection of its own, as HTTP/1.1 has it; a host gives each some tens of MB/s, so
//! several are in flight. Requests run as tasks of a runtime and read right into the buffers of the copy, whose threads
//! wait for them. Measured against the simulator (a shared machine of two processors, medians of five), with 30 MB/s to
//! a connection and 5 ms to each request: 118 MiB/s with two workers, 198 MiB/s with four, and 12 MiB/s by nbdkit's curl
//! plugin and nbdcopy, which ask one after the other.
//!
//! What it relies on: the bytes of the file do not change. Those of a snapshot's flat file do not as long as the
//! snapshot is there. See [`FolderDisk::verify_unchanged`] for what of that can be checked.

mod allocated;
mod binding;
mod limit;
mod runs;
#[cfg(test)]
mod tests;
mod worker;

use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Handle;

pub(super) use allocated::tiled;
pub use binding::SourceBinding;
pub use limit::RequestLimit;

use super::{Area, FolderError, FolderFile};
use crate::block::{BlockError, BlockRead, Cancel, ExtentKnowledge, ReadWorker, extent};
use worker::FolderReader;

/// Disks have whole sectors, and so have areas. A host would give any byte, so nothing is gained by more.
const SECTOR: u64 = 512;

/// How a disk is read.
#[derive(Debug, Clone)]
pub struct FolderDiskOptions {
    /// How many buffers of a worker are in flight; at least 1, and no more than there are requests.
    pub depth: usize,
    /// How many requests there are at once. Give clones of one limit to all disks of a vCenter.
    pub requests: RequestLimit,
}

impl Default for FolderDiskOptions {
    fn default() -> Self {
        Self {
            depth: 4,
            requests: RequestLimit::default(),
        }
    }
}

/// A flat disk of a machine that is off, or of a snapshot. Clones read the same file.
///
/// The error of a failed read is [`BlockError::Remote`], whose source is a [`FolderError`].
///
/// Its workers belong on threads of the operating system, not on those of the runtime: they block. The runtime should be
/// that of the session, and have threads of its own. One of a single thread (`current_thread`) works only while
/// somebody drives it by `block_on`, and does so on another thread than the workers'; where nobody does, nothing is read,
/// and a worker waits until it is cancelled.
#[derive(Clone)]
pub struct FolderDisk {
    file: FolderFile,
    runtime: Handle,
    /// In order, disjoint.
    allocated: Option<Arc<[Range<u64>]>>,
    options: FolderDiskOptions,
}

impl FolderDisk {
    /// Reads `file` by tasks of `runtime`. Asks for nothing yet.
    #[must_use]
    pub fn new(file: FolderFile, runtime: Handle, options: FolderDiskOptions) -> Self {
        Self {
            file,
            runtime,
            allocated: None,
            options,
        }
    }

    /// Reads nothing outside of `areas`: all the rest is taken for zero. They have to be those since the disk's
    /// *creation* ([`Since::Creation`](super::Since::Creation)), asked of the same snapshot. With those since any other
    /// point in time a copy would have zeroes in place of older data.
    #[must_use]
    pub fn with_allocated(mut self, areas: &[Area]) -> Self {
        let ranges = areas
            .iter()
            .map(|area| area.start..area.end().unwrap_or(u64::MAX));
        self.allocated = Some(extent::normalize(ranges.collect()).into());
        self
    }

    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> &FolderFile {
        &self.file
    }

    /// Asks whether the file is still there and as large as when it was opened. To be called before the first read and
    /// after the last.
    ///
    /// Meanwhile each answer that tells the file's size is checked as well. What neither can see: bytes that changed
    /// within a file of the same size. They do when the machine is started without a snapshot, and when the snapshot is
    /// removed: what was written since goes into the file. So see to it that the snapshot is there *after* the last
    /// read, too ([`Session::snapshots`](super::Session::snapshots)); where it is not, the copy is worth nothing.
    ///
    /// # Errors
    /// [`FolderError::Size`], [`FolderError::NotFound`], [`FolderError::Locked`], or what keeps us from asking.
    pub async fn verify_unchanged(&self) -> Result<(), FolderError> {
        self.file.check_size().await
    }

    /// How many buffers of a worker are in flight.
    fn depth(&self) -> usize {
        self.options.depth.clamp(1, self.options.requests.most())
    }
}

impl BlockRead for FolderDisk {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn alignment(&self) -> u64 {
        SECTOR
    }

    /// So many as the requests suffice for: more would wait for each other.
    fn max_workers(&self) -> usize {
        (self.options.requests.most() / self.depth()).max(1)
    }

    fn extent_knowledge(&self) -> ExtentKnowledge {
        match self.allocated {
            Some(_) => ExtentKnowledge::Known,
            None => ExtentKnowledge::Hidden,
        }
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        Ok(Box::new(FolderReader::new(self.clone(), cancel.clone())))
    }
}
