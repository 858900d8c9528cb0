//! What one worker has done since its latest checkpoint.

use std::time::{Duration, Instant};

use super::error::TransferError;
use super::journal::{Covered, Entry, Recorder};
use crate::block::WriteWorker;

/// How often a worker flushes what it wrote and tells the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// After this long at most.
    pub every: Duration,
    /// After so many bytes written at most.
    pub bytes: u64,
}

impl Default for Checkpoints {
    /// A crash costs at most five seconds or a GiB of each worker's work; a flush that often costs next to nothing.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            bytes: 1 << 30,
        }
    }
}

/// What is done and not known to be durable. Without a journal nothing is kept.
pub(super) struct Ledger<'a> {
    journal: Option<&'a dyn Recorder>,
    checkpoints: Checkpoints,
    entries: Vec<Entry>,
    bytes: u64,
    since: Instant,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(journal: Option<&'a dyn Recorder>, checkpoints: Checkpoints) -> Self {
        Self {
            journal,
            checkpoints,
            entries: Vec::new(),
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Whether anything is noted.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// Notes what was given to the writer, of which so many bytes are data.
    pub(super) fn note(&mut self, bytes: u64, entry: impl FnOnce() -> Entry) {
        if self.journal.is_some() {
            self.entries.push(entry());
            self.bytes += bytes;
        }
    }

    /// A checkpoint, where it is time.
    pub(super) fn checkpoint_if_due(&mut self, writer: &mut dyn WriteWorker) -> Result<(), TransferError> {
        let due = self.bytes >= self.checkpoints.bytes || self.since.elapsed() >= self.checkpoints.every;
        if due && !self.entries.is_empty() {
            return self.checkpoint(writer);
        }
        Ok(())
    }

    /// Flushes, and tells the journal what that has covered.
    pub(super) fn checkpoint(&mut self, writer: &mut dyn WriteWorker) -> Result<(), TransferError> {
        writer.flush().map_err(|source| TransferError::Flush { source })?;
        if let Some(journal) = self.journal.filter(|_| !self.entries.is_empty()) {
            journal.record(&Covered(&self.entries));
        }
        self.entries.clear();
        (self.bytes, self.since) = (0, Instant::now());
        Ok(())
    }
}
