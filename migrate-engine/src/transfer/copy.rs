//! Copying a disk, with its digest in the same pass: all of it, what has changed, or what differs.
//!
//! Repeating a copy is harmless: it writes the same bytes to the same places. After a crash or an error the target
//! holds an unknown mixture; copy again, or go on where a journal says that it was.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::crew::{self, Supply, buffers_of};
use super::digest::{BLOCK_SIZE, BlockHasher, DiskDigest, Hashes};
use super::error::TransferError;
use super::journal::{Durable, Recorder};
use super::ledger::{Checkpoints, Ledger};
use super::plan::{Extents, Plan, ZeroRanges};
use super::progress::{Phase, Progress};
use super::rate::RateLimit;
use super::report::{CopyReport, FlushState, Interrupted};
use super::scope::{Changes, Scope};
use super::work::{Digests, Job, Lane};
use super::zeroes::ZeroList;
use crate::block::{BlockRead, BlockWrite, Cancel, Durability, InitialContent};
use crate::model::DigestKind;

/// The page, and what most disks like; a disk may ask for more.
const SMALLEST_GRANULE: u64 = 4096;
/// The largest part of a tail zeroed between two looks at the cancel flag.
const TAIL_PIECE: u64 = 256 << 20;

/// What happens to the part of the target beyond the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// It is zeroed, unless the target is known to be zero. An update leaves it, as the copy before it has zeroed it.
    #[default]
    Zero,
    /// It is left as it is.
    Leave,
}

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Most threads; each has its own connection or handle on both sides.
    pub workers: usize,
    /// How blocks are hashed; an update hashes as the copy before it.
    pub digest: DigestKind,
    /// What happens beyond the source's end.
    pub tail: Tail,
    /// Cap on bytes read per second; keep a clone to change it meanwhile.
    pub rate: RateLimit,
    /// How often each worker makes what it has done durable and known to the journal, where there is one.
    pub checkpoints: Checkpoints,
    /// Whether blocks are hashed at all.
    pub(crate) hashes: Hashes,
}

/// How many workers a copy has unless told otherwise: one per processor, from 2 to 4.
#[must_use]
pub fn usual_workers() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4))
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            workers: usual_workers(),
            digest: DigestKind::default(),
            tail: Tail::default(),
            rate: RateLimit::default(),
            checkpoints: Checkpoints::default(),
            hashes: Hashes::default(),
        }
    }
}

/// A copy that is about to be made: of all of the source to the start of the target, unless it is told otherwise.
#[derive(Clone)]
pub struct Copy<'a> {
    source: &'a dyn BlockRead,
    target: &'a dyn BlockWrite,
    options: &'a CopyOptions,
    about: About<'a>,
    memory: Option<(&'a dyn Recorder, &'a Durable)>,
}

#[derive(Clone, Copy)]
enum About<'a> {
    Everything,
    Changed(&'a DiskDigest, &'a [Range<u64>]),
    Differing(&'a DiskDigest),
}

/// Copies all of `source` to the start of `target` and flushes it before it reports success.
///
/// # Errors
/// As [`Copy::run`].
pub fn copy(
    source: &dyn BlockRead,
    target: &dyn BlockWrite,
    options: &CopyOptions,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<CopyReport, TransferError> {
    Copy::new(source, target, options).run(progress, cancel)
}

impl<'a> Copy<'a> {
    /// A copy of everything, without a journal.
    #[must_use]
    pub fn new(source: &'a dyn BlockRead, target: &'a dyn BlockWrite, options: &'a CopyOptions) -> Self {
        Self {
            source,
            target,
            options,
            about: About::Everything,
            memory: None,
        }
    }

    /// Only what has changed, by somebody who keeps track, since the target was equal to a source of digest `base`: in any
    /// order, in bytes; what overlaps is copied once. Blocks of 1 MiB that a change touches are read whole, so that the digest
    /// stays that of the whole disk; only what changed is written.
    #[must_use]
    pub fn changed(mut self, base: &'a DiskDigest, changes: &'a [Range<u64>]) -> Self {
        self.about = About::Changed(base, changes);
        self
    }

    /// Only the blocks of 1 MiB whose digest is not that of `base`, to which the target was equal. All data of the source is
    /// read, nothing but the difference is written.
    #[must_use]
    pub fn differing(mut self, base: &'a DiskDigest) -> Self {
        self.about = About::Differing(base);
        self
    }

    /// What the journal says to be there is neither read nor written again, and what becomes durable is told to it: at every
    /// checkpoint, at the end, and where the copy fails or is cancelled. It stays until somebody removes it.
    ///
    /// Of what was there before, the journal's digest is believed. Give the target [`InitialContent::Unknown`] unless nothing
    /// but copies with this journal has written to it.
    #[must_use]
    pub fn remembered(mut self, journal: &'a dyn Recorder, durable: &'a Durable) -> Self {
        self.memory = Some((journal, durable));
        self
    }

    /// Copies, and flushes before it reports success.
    ///
    /// # Errors
    /// A source larger than the target, or of another size than the copy before, is refused before the first write. For the
    /// others see [`TransferError`].
    pub fn run(&self, progress: &Progress, cancel: &Cancel) -> Result<CopyReport, TransferError> {
        let started = Instant::now();
        let mut flush = FlushState::NotFlushed;
        match self.work(progress, cancel, &mut flush) {
            Err(error) if error.is_interruption() && cancel.is_cancelled() => {
                let interrupted = Interrupted {
                    totals: progress.totals(),
                    flush,
                    elapsed: started.elapsed(),
                };
                Err(TransferError::Cancelled(Box::new(interrupted)))
            }
            Ok(mut report) => {
                report.elapsed = started.elapsed();
                Ok(report)
            }
            failed => failed,
        }
    }

    fn work(
        &self,
        progress: &Progress,
        cancel: &Cancel,
        flushed: &mut FlushState,
    ) -> Result<CopyReport, TransferError> {
        let (source, target) = (self.source, self.target);
        let source_size = source.size();
        let alignment = source.alignment().max(target.alignment()).max(SMALLEST_GRANULE);
        let scope = self.scope(alignment)?;
        let nothing = Durable::default();
        let durable = self.memory.map_or(&nothing, |(_, durable)| durable);
        progress.begin(
            Phase::Mapping,
            scope.changes().map_or(source_size, Changes::bytes),
        );
        let stop = cancel.child();
        let plan = Plan {
            progress,
            limit: source_size,
            disk_size: source_size,
            alignment,
            extents: Extents::Ask,
            zero_ranges: self.zero_ranges(),
            changes: scope.changes(),
            done: durable,
            known: parking_lot::Mutex::default(),
        };
        let count = (self.options.workers)
            .min(source.max_workers())
            .min(target.max_workers());
        let mut first = self.open_lane(&stop)?;
        plan.look_ahead(first.reader.as_mut(), &stop)?;
        let buffers = buffers_of(first.reader.most_depth().max(1), first.writer.depth());

        progress.enter(Phase::Copying);
        let kind = scope.base().map_or(self.options.digest, |base| base.root().kind);
        let job = Job {
            target,
            scope: &scope,
            hasher: BlockHasher::new(kind, source_size).with(self.options.hashes),
            zeroes: ZeroList::default(),
            durable,
            progress,
        };
        let supply = Supply {
            plan: &plan,
            rate: &self.options.rate,
            stop: &stop,
        };
        let more = (count.saturating_sub(1), || self.open_lane(&stop));
        let outcome = crew::run("copy", first, more, &stop, |lane| job.work(lane, &supply, cancel));
        let mut lanes = outcome.lanes;
        let digests: Digests = outcome.results.into_iter().flatten().collect();
        let moved = match outcome.failure {
            Some(failure) => Err(failure),
            None => {
                let digest = job.digest(digests);
                let rest = self.rest(&digest);
                job.zero_rest(&mut lanes[0], rest, cancel).map(|()| digest)
            }
        };
        let digest = match moved {
            Ok(digest) => digest,
            Err(failure) => {
                let wanted = failure.is_interruption() || self.memory.is_some();
                if wanted && flush_each(&mut lanes).is_ok() {
                    *flushed = FlushState::Flushed;
                }
                return Err(failure);
            }
        };
        progress.enter(Phase::Flushing);
        flush_each(&mut lanes)?;
        progress.enter(Phase::Finished);
        Ok(CopyReport {
            source_size,
            target_size: target.size(),
            totals: progress.totals(),
            digest,
            durability: target.durability(),
            extent_knowledge: source.extent_knowledge(),
            workers: lanes.len(),
            buffer_bytes: (lanes.len() * buffers) as u64 * BLOCK_SIZE,
            elapsed: Duration::ZERO,
        })
    }

    fn scope(&self, granule: u64) -> Result<Scope<'a>, TransferError> {
        let (source_size, target_size) = (self.source.size(), self.target.size());
        if source_size > target_size {
            return Err(TransferError::TargetTooSmall {
                source_size,
                target_size,
            });
        }
        let scope = match self.about {
            About::Everything => Scope::Everything,
            About::Changed(base, changes) => {
                Scope::Changed(base, Changes::new(changes, granule, source_size))
            }
            About::Differing(base) => Scope::Differing(base),
        };
        match scope.base().map(|base| base.root().size) {
            Some(expected) if expected != source_size => Err(TransferError::Resized {
                expected,
                found: source_size,
            }),
            _ => Ok(scope),
        }
    }

    fn zero_ranges(&self) -> ZeroRanges {
        match (self.about, self.target.initial_content()) {
            // Whether a block of zeroes differs is seen at the end.
            (About::Differing(_), _) => ZeroRanges::OnlyOwed,
            (About::Everything, InitialContent::Zero) => ZeroRanges::Skip,
            (About::Changed(..), _) | (About::Everything, InitialContent::Unknown) => ZeroRanges::HandOut,
        }
    }

    /// What is to be zeroed when all data is written: beyond the source, and blocks that came to be zero.
    fn rest(&self, digest: &DiskDigest) -> Vec<Range<u64>> {
        match self.about {
            About::Changed(..) => Vec::new(),
            About::Differing(base) => {
                let size = self.source.size();
                let blocks = (0..).zip(base.blocks().iter().zip(digest.blocks()));
                let zero = BlockHasher::new(digest.root().kind, size);
                let became_zero =
                    blocks.filter(|(index, (before, now))| before != now && **now == zero.zero(*index));
                let places =
                    became_zero.map(|(index, _)| index * BLOCK_SIZE..size.min((index + 1) * BLOCK_SIZE));
                crate::block::extent::normalize(places.collect())
            }
            About::Everything if self.options.tail == Tail::Leave => Vec::new(),
            About::Everything if self.target.initial_content() == InitialContent::Zero => Vec::new(),
            About::Everything => {
                let (mut at, end) = (self.source.size(), self.target.size());
                let piece = || {
                    let start = at;
                    at = end.min((at + TAIL_PIECE) / TAIL_PIECE * TAIL_PIECE);
                    (start < end).then_some(start..at)
                };
                std::iter::from_fn(piece).collect()
            }
        }
    }

    fn open_lane(&self, stop: &Cancel) -> Result<Lane<'a>, TransferError> {
        let failed = |side| move |source| TransferError::Open { side, source };
        let reader = self.source.open_worker(stop).map_err(failed("source"))?;
        let writer = self.target.open_worker(stop).map_err(failed("target"))?;
        // Where a flush proves nothing, nothing is to be told.
        let memory = self
            .memory
            .filter(|_| self.target.durability() == Durability::Durable);
        let journal = memory.map(|(journal, _)| journal);
        Ok(Lane {
            reader,
            writer,
            ledger: Ledger::new(journal, self.options.checkpoints),
        })
    }
}

/// Every handle flushes: without a multi-connection promise, a flush covers its own connection only. The first failure is
/// told; the others flush nevertheless, and their journal is written.
fn flush_each(lanes: &mut [Lane<'_>]) -> Result<(), TransferError> {
    let mut outcome = Ok(());
    for lane in lanes {
        let flushed = lane.ledger.checkpoint(lane.writer.as_mut());
        outcome = outcome.and(flushed);
    }
    outcome
}
