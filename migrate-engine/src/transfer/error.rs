//! Why a transfer did not finish.

use super::report::Interrupted;
use crate::block::BlockError;

/// An error of a copy or a verification; places are in bytes on the virtual disk.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The source does not fit; nothing was written.
    #[error("the source has {source_size} bytes, the target only {target_size}")]
    TargetTooSmall {
        /// Size of the source in bytes.
        source_size: u64,
        /// Size of the target in bytes.
        target_size: u64,
    },
    /// The disk to verify is smaller than the digest's.
    #[error("the digest is of {expected} bytes, the disk has only {found}")]
    DiskTooSmall {
        /// Size that the digest states, in bytes.
        expected: u64,
        /// Size of the disk in bytes.
        found: u64,
    },
    /// What the target was equal to had another size: it cannot be brought up to date, only copied anew.
    #[error("the earlier copy was of {expected} bytes, the source has {found} now: copy all of it")]
    Resized {
        /// Size of the earlier copy in bytes.
        expected: u64,
        /// Size of the source in bytes.
        found: u64,
    },
    /// A worker could not open its handle.
    #[error("open the {side}")]
    Open {
        /// `source` or `target`.
        side: &'static str,
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// The extents of the source could not be learnt.
    #[error("ask for the extents from offset {offset} on")]
    Extents {
        /// Where the question started.
        offset: u64,
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// Reading failed.
    #[error("read {length} bytes at offset {offset}")]
    Read {
        /// Where the read started.
        offset: u64,
        /// How long it was.
        length: u64,
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// Writing failed.
    #[error("write {length} bytes at offset {offset}")]
    Write {
        /// Where the write started.
        offset: u64,
        /// How long it was.
        length: u64,
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// Writing zeroes failed.
    #[error("zero {length} bytes at offset {offset}")]
    Zero {
        /// Where the range started.
        offset: u64,
        /// How long it was.
        length: u64,
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// The bytes were written, but making them durable failed: count none of them as safe.
    #[error("flush the target")]
    Flush {
        /// What happened.
        #[source]
        source: BlockError,
    },
    /// A worker thread could not be started.
    #[error("start a worker thread")]
    Thread {
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The cancel flag was raised; what was done is told.
    #[error("cancelled after {} bytes", .0.totals.bytes_read)]
    Cancelled(Box<Interrupted>),
}

impl TransferError {
    /// Whether this is the end that somebody asked for.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_))
    }

    pub(super) fn read((offset, length): (u64, u64), source: BlockError) -> Self {
        let (offset, length) = source.place().unwrap_or((offset, length));
        Self::Read {
            offset,
            length,
            source,
        }
    }

    pub(super) fn write((offset, length): (u64, u64), source: BlockError) -> Self {
        let (offset, length) = source.place().unwrap_or((offset, length));
        Self::Write {
            offset,
            length,
            source,
        }
    }

    pub(super) fn zero((offset, length): (u64, u64), source: BlockError) -> Self {
        let (offset, length) = source.place().unwrap_or((offset, length));
        Self::Zero {
            offset,
            length,
            source,
        }
    }

    /// Whether a raised flag, not a fault, is behind it.
    pub(super) fn is_interruption(&self) -> bool {
        match self {
            Self::Open { source, .. }
            | Self::Extents { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Zero { source, .. }
            | Self::Flush { source } => matches!(source, BlockError::Interrupted),
            _ => false,
        }
    }
}
