//! What can go wrong with a disk.

use std::io;

use super::extent::CoverageError;
use super::nbd::NbdError;

/// An error of a reader or writer; it names the place on the disk where there is one.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The local kernel refused or failed a transfer.
    #[error("{action} of {length} bytes at offset {offset}")]
    Transfer {
        /// What was being done: `read`, `write`, `zero`.
        action: &'static str,
        /// Where it started, in bytes.
        offset: u64,
        /// How long it was, in bytes.
        length: u64,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The local kernel refused something that has no place on the disk.
    #[error("{action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A request does not fit the disk.
    #[error("{action} of {length} bytes at offset {offset} passes the end of a disk of {size} bytes")]
    OutOfRange {
        /// What was asked.
        action: &'static str,
        /// Where it started, in bytes.
        offset: u64,
        /// How long it was, in bytes.
        length: u64,
        /// The size of the disk, in bytes.
        size: u64,
    },
    /// The disk ended before it should.
    #[error("the disk ended at offset {offset}, {missing} bytes early")]
    EndedEarly {
        /// Where the disk ended.
        offset: u64,
        /// What was still expected, in bytes.
        missing: u64,
    },
    /// A device has another size than when it was opened: it was pulled out (then it has none), or resized. Linux answers reads
    /// of a device that is gone with its end, and writes with a lack of space.
    #[error("{}", changed_device(*before, *now))]
    DeviceChanged {
        /// Its size when it was opened, in bytes.
        before: u64,
        /// Its size now, in bytes.
        now: u64,
        /// What failed.
        #[source]
        source: Box<BlockError>,
    },
    /// The descriptor is neither a block device nor a regular file.
    #[error("the descriptor is neither a block device nor a regular file")]
    NotADisk,
    /// Opening the descriptor a second time led somewhere else.
    #[error("reopening the disk led to another one")]
    AnotherDisk,
    /// The disk was opened for reading only.
    #[error("the disk was opened for reading only")]
    ReadOnly,
    /// `complete` was called with nothing submitted.
    #[error("no read is in flight")]
    NothingInFlight,
    /// The cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
    /// A reader's extents do not tile the range that was asked for.
    #[error("the extents of the disk contradict each other")]
    BadExtents(#[source] CoverageError),
    /// The NBD server or the way to it failed.
    #[error(transparent)]
    Nbd(NbdError),
    /// Another server that holds the disk, or the way to it, failed a read.
    #[error("the server that holds the disk did not give {length} bytes at offset {offset}")]
    Remote {
        /// Where the read started, in bytes.
        offset: u64,
        /// How long it was, in bytes.
        length: u64,
        /// What happened, in the words of the reader, and what to do.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BlockError {
    /// Where on the disk it happened, as offset and length in bytes, if the error knows.
    pub fn place(&self) -> Option<(u64, u64)> {
        match self {
            Self::Transfer { offset, length, .. }
            | Self::OutOfRange { offset, length, .. }
            | Self::Remote { offset, length, .. }
            | Self::Nbd(NbdError::Request { offset, length, .. }) => Some((*offset, *length)),
            Self::EndedEarly { offset, missing } => Some((*offset, *missing)),
            Self::DeviceChanged { source, .. } => source.place(),
            _ => None,
        }
    }
}

impl From<NbdError> for BlockError {
    fn from(error: NbdError) -> Self {
        match error {
            NbdError::Cancelled => Self::Interrupted,
            other => Self::Nbd(other),
        }
    }
}

fn changed_device(before: u64, now: u64) -> String {
    match now {
        0 => format!("the device of {before} bytes is gone: it was pulled out or detached"),
        now => format!("the device had {before} bytes and has {now} now"),
    }
}

/// Refuses a range that does not fit a disk of `size` bytes.
pub(crate) fn check_range(
    action: &'static str,
    offset: u64,
    length: u64,
    size: u64,
) -> Result<(), BlockError> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange {
            action,
            offset,
            length,
            size,
        }),
    }
}
