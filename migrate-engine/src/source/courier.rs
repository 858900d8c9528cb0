//! Copies that are made where the source is: what is to be copied, into which export, and what came of it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::{FrozenDisk, SourceFailure};
use crate::block::{Cancel, InitialContent};
use crate::model::DigestKind;
use crate::transfer::{CopyTotals, DiskDigest, Durable, Journal, Progress};

/// Copies frozen disks from where they are.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Copies a disk into an export, flushed, and tells its digest. When this returns, however it does, nothing of it
    /// reaches the export any more. Repeated with the same journal, it goes on where it was.
    ///
    /// # Errors
    /// Why it did not get to its end.
    async fn deliver(
        &self,
        disk: &FrozenDisk,
        errand: Errand,
        cancel: &Cancel,
    ) -> Result<Delivered, SourceFailure>;
}

/// What of a disk is copied.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// All of it.
    Everything,
    /// These ranges, since the target was equal to a disk of this digest.
    Changed(DiskDigest, Arc<[Range<u64>]>),
    /// The blocks that differ from those of this digest, to which the target is equal.
    Differing(DiskDigest),
}

/// A copy that is to be made.
pub struct Errand {
    /// What is copied.
    pub what: What,
    /// The ranges that are in use, where the source told: all else reads as zeroes.
    pub allocated: Option<Arc<[Range<u64>]>>,
    /// The export, by its address here.
    pub export: String,
    /// Its size in bytes.
    pub target_size: u64,
    /// What it holds before the first write.
    pub initial: InitialContent,
    /// How blocks are hashed, where everything is copied; otherwise as the copy before.
    pub digest: DigestKind,
    /// How many connections there are at most.
    pub workers: usize,
    /// Where it is written down what became durable, and what was before.
    pub memory: Option<(Arc<Journal>, Durable)>,
    /// Who is told how far it is.
    pub progress: Arc<Progress>,
    /// How many bytes a second it may read at the moment; no cap where `None`.
    pub rate: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}

/// A disk that was copied and flushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// What was moved.
    pub totals: CopyTotals,
    /// Its content.
    pub digest: DiskDigest,
}
