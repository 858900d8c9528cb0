//! The work of a copy's workers: each block read is hashed, judged and written, its zeroes joined with those of others.

use std::ops::Range;

use super::crew::{self, Step, Supply};
use super::digest::{BlockDigest, BlockHasher, DiskDigest};
use super::error::TransferError;
use super::journal::{Durable, DurableBlock, Entry};
use super::ledger::Ledger;
use super::plan::BlockTask;
use super::progress::Progress;
use super::scope::{Scope, clip};
use super::zeroes::{self, Run, ZeroList};
use crate::block::{BlockError, BlockWrite, Buffer, Cancel, InitialContent, ReadWorker, WriteWorker, extent};

/// One worker's handles, and what it has done that no journal knows of.
pub(super) struct Lane<'a> {
    pub(super) reader: Box<dyn ReadWorker>,
    pub(super) writer: Box<dyn WriteWorker>,
    pub(super) ledger: Ledger<'a>,
}

/// What all workers share.
pub(super) struct Job<'a> {
    pub(super) target: &'a dyn BlockWrite,
    pub(super) scope: &'a Scope<'a>,
    pub(super) hasher: BlockHasher,
    pub(super) zeroes: ZeroList,
    pub(super) durable: &'a Durable,
    pub(super) progress: &'a Progress,
}

/// The digests of blocks, by their numbers.
pub(super) type Digests = Vec<(u64, BlockDigest)>;

impl Job<'_> {
    /// One worker's whole life. Its result: digests of the blocks that hold anything but zeroes; of an update, of all that
    /// were read.
    pub(super) fn work(
        &self,
        lane: &mut Lane<'_>,
        supply: &Supply<'_>,
        cancel: &Cancel,
    ) -> Result<Digests, TransferError> {
        let Lane {
            reader,
            writer,
            ledger,
        } = lane;
        let mut digests = Vec::new();
        let done = crew::drive(reader.as_mut(), writer.depth(), supply, |step| {
            match step {
                Step::Zero(range) => self.zero(writer.as_mut(), ledger, range)?,
                Step::Block(block, buffer) => {
                    digests.extend(self.put(writer.as_mut(), ledger, &block, buffer)?);
                }
            }
            ledger.checkpoint_if_due(writer.as_mut())
        });
        // After a cancel, what was sent is still waited for, so that a flush can cover it; and so it is where a journal is to
        // know of it, as the kernel drops what a thread that ends has left to it.
        if done.is_ok() || cancel.is_cancelled() || ledger.is_kept() {
            let drained = writer
                .drain()
                .map_err(|source| TransferError::write((0, supply.plan.limit), source));
            // What came first is told.
            done?;
            drained?;
            return Ok(digests);
        }
        done.map(|()| digests)
    }

    /// Writes what of one block is to be written.
    fn put(
        &self,
        writer: &mut dyn WriteWorker,
        ledger: &mut Ledger<'_>,
        block: &BlockTask,
        buffer: Buffer,
    ) -> Result<Option<(u64, BlockDigest)>, TransferError> {
        let runs: Vec<Run> = block
            .parts
            .iter()
            .flat_map(|part| zeroes::runs(&buffer[..block.length], part.clone()))
            .collect();
        let holds_data = runs.iter().any(|run| matches!(run, Run::Data(_)));
        let digest = if holds_data {
            self.hasher.block(&buffer[..block.length])
        } else {
            self.hasher.zero(block.index)
        };
        let told = (holds_data || self.scope.base().is_some()).then_some((block.index, digest));
        let place = block.offset()..block.offset() + block.length as u64;
        let is_differing = match self.scope {
            Scope::Differing(base) if base.block(block.index) == Some(&digest) => {
                self.progress.moved(block.data_bytes(), 0, 0);
                note(ledger, block.index, digest, (0, &[], 0));
                return Ok(told);
            }
            Scope::Differing(_) => true,
            Scope::Everything | Scope::Changed(..) => false,
        };
        let allowed = self.scope.within(place.clone());
        let bytes = buffer.share(0..block.length);
        let at = |range: &Range<usize>| place.start + range.start as u64..place.start + range.end as u64;
        let (mut written, mut found_zero, mut data, mut zeros) = (0, 0, Vec::new(), Vec::new());
        for run in runs {
            match run {
                Run::Zero(range) => {
                    found_zero += range.len() as u64;
                    zeros.extend(clip(&allowed, &at(&range)));
                }
                Run::Data(range) => {
                    for piece in clip(&allowed, &at(&range)) {
                        let length = piece.end - piece.start;
                        let inside = inside(piece.start - place.start)..inside(piece.end - place.start);
                        writer
                            .write(piece.start, bytes.with_range(inside))
                            .map_err(|source| TransferError::write((piece.start, length), source))?;
                        written += length;
                        data.push(piece);
                    }
                }
            }
        }
        let owed: Vec<_> = allowed
            .iter()
            .flat_map(|part| extent::gaps(&data, part))
            .collect();
        if is_differing {
            // Nobody else sees to what the source says to be zero; to whole blocks somebody does, at the end.
            zeros = if holds_data { owed.clone() } else { Vec::new() };
        }
        if self.scope.base().is_some() || self.target.initial_content() == InitialContent::Unknown {
            for range in zeros {
                for ripe in self.zeroes.add(range) {
                    self.zero(writer, ledger, ripe)?;
                }
            }
        }
        note(ledger, block.index, digest, (place.start, &owed, written));
        self.progress.moved(block.data_bytes(), written, found_zero);
        Ok(told)
    }

    /// The digest of the source, by the digests of what was read.
    pub(super) fn digest(&self, read: Digests) -> DiskDigest {
        let known = self.durable.digests().chain(read);
        match self.scope {
            Scope::Everything | Scope::Differing(_) => self.hasher.finish(known),
            // What was touched and not read is zero.
            Scope::Changed(base, changes) => {
                let touched = changes.blocks().map(|index| (index, self.hasher.zero(index)));
                self.hasher.update(base, touched.chain(known))
            }
        }
    }

    fn zero(
        &self,
        writer: &mut dyn WriteWorker,
        ledger: &mut Ledger<'_>,
        range: Range<u64>,
    ) -> Result<(), TransferError> {
        let length = range.end - range.start;
        writer
            .write_zeroes(range.clone())
            .map_err(|source| TransferError::zero((range.start, length), source))?;
        ledger.note(0, || Entry::Zeroed(range));
        self.progress.zeroed(length);
        Ok(())
    }

    /// What waited to be joined, then `more`; alone, because a tail shares a granule with the last block.
    pub(super) fn zero_rest(
        &self,
        lane: &mut Lane<'_>,
        more: Vec<Range<u64>>,
        cancel: &Cancel,
    ) -> Result<(), TransferError> {
        let Lane { writer, ledger, .. } = lane;
        let rest = more.iter().flat_map(|range| self.durable.not_zeroed(range));
        let ranges = self.zeroes.take().into_iter().chain(rest);
        let mut at = 0;
        for range in ranges {
            at = range.start;
            if cancel.is_cancelled() {
                let length = range.end - range.start;
                return Err(TransferError::zero(
                    (range.start, length),
                    BlockError::Interrupted,
                ));
            }
            self.zero(writer.as_mut(), ledger, range)?;
            ledger.checkpoint_if_due(writer.as_mut())?;
        }
        writer
            .drain()
            .map_err(|source| TransferError::zero((at, 0), source))
    }
}

/// Notes a block: where it begins, what of it has to be zero, how much was written.
fn note(
    ledger: &mut Ledger<'_>,
    index: u64,
    digest: BlockDigest,
    (start, zeros, written): (u64, &[Range<u64>], u64),
) {
    let short = |at: u64| u32::try_from(at).expect("a block has 1 MiB");
    ledger.note(written, || {
        let zeros = zeros
            .iter()
            .map(|range| short(range.start - start)..short(range.end - start));
        let block = DurableBlock {
            digest,
            moved: short(written),
            zeros: zeros.collect(),
        };
        Entry::Block(index, block)
    });
}

/// A position inside of a block.
fn inside(at: u64) -> usize {
    usize::try_from(at).expect("a block has 1 MiB")
}
