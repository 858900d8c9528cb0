//! Moving a disk: copy with a digest in the same pass, verification by reading back, live progress.
//!
//! Both run on operating system threads and block their caller until they are done; call them from a thread of
//! your own. Memory: `workers x (most depth + 1 + what the writer keeps)` buffers of 1 MiB (at most 58 MiB from NBD to a
//! device with the defaults, and less where the server answers without a pause), at most 5 MiB of extents, and 40 bytes of digest per MiB of data (32 per MiB of disk once finished).

mod copy;
mod crew;
mod digest;
mod error;
mod journal;
mod ledger;
mod plan;
mod progress;
mod rate;
mod report;
mod scope;
mod verify;
mod work;
mod zeroes;

pub use crate::model::DigestKind;
pub use copy::{Copy, CopyOptions, Tail, copy, usual_workers};
pub(crate) use digest::Hashes;
#[cfg(test)]
pub(crate) use digest::root_of;
pub use digest::{BLOCK_SIZE, BlockDigest, DiskDigest, ParseDigestError, RootDigest};
pub use error::TransferError;
pub use journal::{Binding, Covered, Durable, Journal, JournalError, NonsenseError, Recorder};
pub use ledger::Checkpoints;
pub use progress::{Phase, Progress, Snapshot};
pub use rate::RateLimit;
pub use report::{CopyReport, CopyTotals, FlushState, Interrupted, Mismatch, VerifyReport};
pub use verify::{Coverage, Expected, VerifyOptions, verify};

#[cfg(test)]
mod tests;
