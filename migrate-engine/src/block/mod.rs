//! Block data: extents, and the contracts of what can be read from and written to.
//!
//! A [`BlockRead`] or [`BlockWrite`] is shared and describes one disk; a *worker* is one thread's own handle on
//! it (one NBD connection, one set of descriptors). Everything here blocks: the data path runs on operating
//! system threads, never on an async executor.
//!
//! Guarantees every implementation keeps:
//! - A range reported as [`ExtentKind::Zero`] reads as zeroes; whoever does not know says `Data`.
//! - [`WriteWorker::flush`] covers every write of the same worker that was drained before it.
//! - A raised [`Cancel`] ends a blocked call soon with [`BlockError::Interrupted`].

mod buffer;
mod cancel;
mod error;
pub mod extent;
pub mod local;
mod memory;
pub mod nbd;
#[cfg(test)]
pub(crate) mod testing;

use std::ops::Range;

pub use buffer::{Buffer, BufferPool, BufferSlice};
pub use cancel::Cancel;
pub use error::BlockError;
pub(crate) use error::check_range;
pub use extent::{Extent, ExtentKind};
pub use local::{LocalDisk, LocalDiskOptions};
pub use nbd::{NbdError, NbdExport, NbdOptions, NbdTunnel, NbdUri};

/// What a disk is known to contain before the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialContent {
    /// Somebody promised that every byte reads as zero.
    Zero,
    /// Anything may be there.
    Unknown,
}

/// What a successful flush means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The bytes are on stable storage.
    Durable,
    /// The other side offers neither flush nor forced unit access: durability is its own affair.
    NotOffered,
}

/// Whether a reader can tell data from zeroes without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKnowledge {
    /// `extents` tells zero ranges apart.
    Known,
    /// Everything is reported as data.
    Hidden,
}

/// One block's worth of reading: the wanted parts of `buffer`, which stands for the disk from `offset` on.
#[derive(Debug)]
pub struct ReadRequest {
    /// Position on the disk of the buffer's first byte.
    pub offset: u64,
    /// Where the bytes go; bytes outside `wanted` stay as they are.
    pub buffer: Buffer,
    /// Ascending, disjoint, not empty; positions inside the buffer.
    pub wanted: Vec<Range<usize>>,
}

/// A disk that can be read.
pub trait BlockRead: Send + Sync {
    /// Size in bytes; does not change while this value lives.
    fn size(&self) -> u64;

    /// Reads that start and end on multiples of this (a power of two), or end at `size`, are served as they are.
    fn alignment(&self) -> u64;

    /// How many workers may be open at once; at least 1.
    fn max_workers(&self) -> usize;

    /// Whether `extents` of this disk's workers tells anything.
    fn extent_knowledge(&self) -> ExtentKnowledge;

    /// Opens one thread's handle; `cancel` ends its blocked calls.
    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError>;
}

/// One thread's handle on a [`BlockRead`]. After an error the handle is spent: drop it.
pub trait ReadWorker: Send {
    /// How many requests are worth having in flight now.
    fn depth(&self) -> usize;

    /// How many that may ever become.
    fn most_depth(&self) -> usize {
        self.depth()
    }

    /// Extents that cover `range` exactly, in order, without gap or overlap.
    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError>;

    /// Starts a read. It may wait for room, and finishes through [`ReadWorker::complete`].
    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError>;

    /// Waits for one submitted read and gives the filled request back, in any order.
    /// Calling it with nothing in flight is [`BlockError::NothingInFlight`].
    fn complete(&mut self) -> Result<ReadRequest, BlockError>;
}

/// A disk that can be written.
pub trait BlockWrite: Send + Sync {
    /// Size in bytes; does not change while this value lives.
    fn size(&self) -> u64;

    /// Writes that start and end on multiples of this (a power of two) are served as they are; other edges work,
    /// but cost a read-modify-write, and must not run beside another write to the same aligned granule.
    fn alignment(&self) -> u64;

    /// How many workers may be open at once; at least 1.
    fn max_workers(&self) -> usize;

    /// What the disk held before the first write.
    fn initial_content(&self) -> InitialContent;

    /// What a flush of this disk is worth.
    fn durability(&self) -> Durability;

    /// Opens one thread's handle; `cancel` ends its blocked calls.
    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn WriteWorker>, BlockError>;
}

/// One thread's handle on a [`BlockWrite`]. After an error the handle is spent: drop it.
/// Writing the same bytes to the same place again is harmless.
pub trait WriteWorker: Send {
    /// How many writes it may keep the buffers of, until it is drained.
    fn depth(&self) -> usize {
        0
    }

    /// Writes, or queues, `data` at `offset`; a queued write's error comes from a later call and names its own place.
    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError>;

    /// Makes `range` read as zeroes, unmapping it where the disk can.
    fn write_zeroes(&mut self, range: Range<u64>) -> Result<(), BlockError>;

    /// Waits until every queued write was acknowledged.
    fn drain(&mut self) -> Result<(), BlockError>;

    /// Drains, then makes everything written so far durable (see [`BlockWrite::durability`]).
    fn flush(&mut self) -> Result<(), BlockError>;
}
