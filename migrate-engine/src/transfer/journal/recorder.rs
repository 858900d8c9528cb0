//! Who is told what became durable: a journal here, or one elsewhere.

use super::Entry;

/// Where it is written down what became durable.
pub trait Recorder: Send + Sync {
    /// Records what a flush of the target has covered. Where that cannot be done, a later copy loses its head start, and
    /// this one goes on.
    fn record(&self, covered: &Covered<'_>);
}

/// What one flush of the target has covered.
#[derive(Debug, Clone, Copy)]
pub struct Covered<'a>(pub(in super::super) &'a [Entry]);

impl Covered<'_> {
    /// For [`Journal::record_bytes`](super::Journal::record_bytes), elsewhere.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.iter().for_each(|entry| entry.encode(&mut bytes));
        bytes
    }
}

/// Bytes that tell of nothing that can be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is said to be durable makes no sense for disks of these sizes")]
pub struct NonsenseError;
