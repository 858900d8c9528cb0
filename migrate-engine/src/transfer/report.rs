//! What a transfer did.

use std::ops::Range;
use std::time::Duration;

use super::digest::{DiskDigest, RootDigest};
use crate::block::{Durability, ExtentKnowledge};

/// Counts of a copy, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyTotals {
    /// Read from the source.
    pub bytes_read: u64,
    /// Written to the target as data.
    pub bytes_written: u64,
    /// Not read, because the source said they are zero.
    pub bytes_skipped: u64,
    /// Read, and found to be zero. What was read and is neither this nor written had not changed.
    pub bytes_found_zero: u64,
    /// Made zero on the target, its tail included.
    pub bytes_zeroed: u64,
    /// Moved by an earlier run that was interrupted; counted nowhere else.
    pub bytes_resumed: u64,
}

/// A finished copy.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// Size of the source in bytes.
    pub source_size: u64,
    /// Size of the target in bytes.
    pub target_size: u64,
    /// What was moved.
    pub totals: CopyTotals,
    /// Content of the source: as it was read, and where it was not read, as an earlier copy read it.
    pub digest: DiskDigest,
    /// What the final flush was worth.
    pub durability: Durability,
    /// Whether the source told zeroes from data.
    pub extent_knowledge: ExtentKnowledge,
    /// Threads that worked.
    pub workers: usize,
    /// Largest amount of buffer memory that could be in use, in bytes.
    pub buffer_bytes: u64,
    /// From the call to the end of the flush.
    pub elapsed: Duration,
}

/// Whether the bytes of an interrupted copy were made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushState {
    /// A flush was acknowledged after the last write.
    Flushed,
    /// No flush was acknowledged in the time there was; or nothing was to be flushed (a verification).
    NotFlushed,
}

/// A transfer that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// What was done until then.
    pub totals: CopyTotals,
    /// Whether it is durable.
    pub flush: FlushState,
    /// From the call to the end.
    pub elapsed: Duration,
}

/// Blocks that differ, as a range of the disk in bytes.
pub type Mismatch = Range<u64>;

/// A finished verification; finished does not mean equal.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// What was expected.
    pub expected: RootDigest,
    /// What was found; where a sample was read, with what was expected in place of the rest.
    pub found: DiskDigest,
    /// Number of blocks that differ; unknown where only a root was given.
    pub differing_blocks: Option<u64>,
    /// The first differing ranges (neighbouring blocks joined), at most 16; empty where only a root was given.
    pub first_mismatches: Vec<Mismatch>,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// From the call to the end.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Whether what was read is exactly what was expected.
    pub fn is_equal(&self) -> bool {
        self.expected == *self.found.root()
    }
}
