//! Copying a disk, with its digest in the same pass.
//!
//! Repeating a copy is harmless: it writes the same bytes to the same places. After a crash or an error the target
//! holds an unknown mixture; copy again.

use std::time::Instant;

use super::crew::{self, Step, Supply, buffers_of};
use super::digest::{BLOCK_SIZE, BlockDigest, BlockHasher, DigestKind};
use super::error::TransferError;
use super::plan::{BlockTask, Extents, Plan, ZeroRanges};
use super::progress::{Phase, Progress};
use super::rate::RateLimit;
use super::report::{CopyReport, FlushState, Interrupted};
use super::zeroes::{self, Run, ZeroList};
use crate::block::{BlockRead, BlockWrite, Buffer, Cancel, InitialContent, ReadWorker, WriteWorker};

/// The page, and what most disks like; a disk may ask for more.
const SMALLEST_GRANULE: u64 = 4096;
/// The largest part of a tail zeroed between two looks at the cancel flag.
const TAIL_PIECE: u64 = 256 << 20;

/// What happens to the part of the target beyond the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// It is zeroed, unless the target is known to be zero.
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
    /// How blocks are hashed.
    pub digest: DigestKind,
    /// What happens beyond the source's end.
    pub tail: Tail,
    /// Cap on bytes read per second; keep a clone to change it meanwhile.
    pub rate: RateLimit,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            workers: 4,
            digest: DigestKind::default(),
            tail: Tail::default(),
            rate: RateLimit::default(),
        }
    }
}

/// One worker's handles.
struct Lane {
    reader: Box<dyn ReadWorker>,
    writer: Box<dyn WriteWorker>,
}

/// What all workers share.
struct Job<'a> {
    target: &'a dyn BlockWrite,
    hasher: BlockHasher,
    zeroes: ZeroList,
    progress: &'a Progress,
}

/// Copies all of `source` to the start of `target` and flushes it before it reports success.
/// A source larger than the target is refused before the first write.
pub fn copy(
    source: &dyn BlockRead,
    target: &dyn BlockWrite,
    options: &CopyOptions,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<CopyReport, TransferError> {
    let started = Instant::now();
    let mut flush = FlushState::NotFlushed;
    let outcome = copy_all(source, target, options, progress, cancel, &mut flush);
    match outcome {
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

fn copy_all(
    source: &dyn BlockRead,
    target: &dyn BlockWrite,
    options: &CopyOptions,
    progress: &Progress,
    cancel: &Cancel,
    flushed: &mut FlushState,
) -> Result<CopyReport, TransferError> {
    let (source_size, target_size) = (source.size(), target.size());
    if source_size > target_size {
        return Err(TransferError::TargetTooSmall {
            source_size,
            target_size,
        });
    }
    progress.begin(Phase::Mapping, source_size);
    let stop = cancel.child();
    let mut lanes = open_lanes(source, target, options, &stop)?;
    let (workers, depth) = (lanes.len(), lanes[0].reader.depth().max(1));

    let plan = Plan {
        progress,
        limit: source_size,
        disk_size: source_size,
        alignment: source.alignment().max(target.alignment()).max(SMALLEST_GRANULE),
        extents: Extents::Ask,
        zero_ranges: match target.initial_content() {
            InitialContent::Zero => ZeroRanges::Skip,
            InitialContent::Unknown => ZeroRanges::HandOut,
        },
        known: parking_lot::Mutex::default(),
    };
    plan.look_ahead(lanes[0].reader.as_mut(), &stop)?;

    progress.enter(Phase::Copying);
    let hasher = BlockHasher::new(options.digest, source_size);
    let job = Job {
        target,
        hasher,
        zeroes: ZeroList::default(),
        progress,
    };
    let supply = Supply {
        plan: &plan,
        rate: &options.rate,
        stop: &stop,
    };
    let outcome = crew::run("copy", lanes, &stop, |lane| job.work(lane, &supply, cancel));
    lanes = outcome.lanes;
    let moved = match outcome.failure {
        Some(failure) => Err(failure),
        None => job.zero_rest(lanes[0].writer.as_mut(), source_size, options.tail, cancel),
    };
    if let Err(failure) = moved {
        if failure.is_interruption() && flush(&mut lanes).is_ok() {
            *flushed = FlushState::Flushed;
        }
        return Err(failure);
    }
    progress.enter(Phase::Flushing);
    flush(&mut lanes)?;
    progress.enter(Phase::Finished);
    Ok(CopyReport {
        source_size,
        target_size,
        totals: progress.totals(),
        digest: job.hasher.finish(outcome.results.into_iter().flatten()),
        durability: target.durability(),
        extent_knowledge: source.extent_knowledge(),
        workers,
        buffer_bytes: (workers * buffers_of(depth)) as u64 * BLOCK_SIZE,
        elapsed: std::time::Duration::ZERO,
    })
}

fn open_lanes(
    source: &dyn BlockRead,
    target: &dyn BlockWrite,
    options: &CopyOptions,
    stop: &Cancel,
) -> Result<Vec<Lane>, TransferError> {
    let count = options
        .workers
        .min(source.max_workers())
        .min(target.max_workers())
        .max(1);
    let failed = |side| move |source| TransferError::Open { side, source };
    crew::open(count, || {
        let reader = source.open_worker(stop).map_err(failed("source"))?;
        let writer = target.open_worker(stop).map_err(failed("target"))?;
        Ok(Lane { reader, writer })
    })
}

/// Every handle flushes: without a multi-connection promise, a flush covers its own connection only.
fn flush(lanes: &mut [Lane]) -> Result<(), TransferError> {
    for lane in lanes {
        lane.writer
            .flush()
            .map_err(|source| TransferError::Flush { source })?;
    }
    Ok(())
}

impl Job<'_> {
    /// One worker's whole life. Its result: digests of the blocks that hold anything but zeroes.
    fn work(
        &self,
        lane: &mut Lane,
        supply: &Supply<'_>,
        cancel: &Cancel,
    ) -> Result<Vec<(u64, BlockDigest)>, TransferError> {
        let Lane { reader, writer } = lane;
        let mut digests = Vec::new();
        let done = crew::drive(reader.as_mut(), supply, |step| match step {
            Step::Zero(range) => self.zero(writer.as_mut(), range),
            Step::Block(block, buffer) => {
                digests.extend(self.put(writer.as_mut(), &block, buffer)?);
                Ok(())
            }
        });
        // After a cancel, what was sent is still waited for, so that a flush can cover it.
        if done.is_ok() || cancel.is_cancelled() {
            writer
                .drain()
                .map_err(|source| TransferError::write((0, supply.plan.limit), source))?;
        }
        done.map(|()| digests)
    }

    /// Writes one block's data; its zeroes join those of other blocks.
    fn put(
        &self,
        writer: &mut dyn WriteWorker,
        block: &BlockTask,
        buffer: Buffer,
    ) -> Result<Option<(u64, BlockDigest)>, TransferError> {
        let runs: Vec<Run> = block
            .parts
            .iter()
            .flat_map(|part| zeroes::runs(&buffer[..block.length], part.clone()))
            .collect();
        let holds_data = runs.iter().any(|run| matches!(run, Run::Data(_)));
        let digest = holds_data.then(|| (block.index, self.hasher.block(&buffer[..block.length])));
        let bytes = buffer.share(0..block.length);
        let mut written = 0;
        for run in runs {
            match run {
                Run::Data(range) => {
                    let (offset, length) = (block.offset() + range.start as u64, range.len() as u64);
                    writer
                        .write(offset, bytes.with_range(range))
                        .map_err(|source| TransferError::write((offset, length), source))?;
                    written += length;
                }
                Run::Zero(_) if self.target.initial_content() == InitialContent::Zero => {}
                Run::Zero(range) => {
                    let range = block.offset() + range.start as u64..block.offset() + range.end as u64;
                    for ripe in self.zeroes.add(range) {
                        self.zero(writer, ripe)?;
                    }
                }
            }
        }
        self.progress.moved(block.data_bytes(), written);
        Ok(digest)
    }

    fn zero(&self, writer: &mut dyn WriteWorker, range: std::ops::Range<u64>) -> Result<(), TransferError> {
        let length = range.end - range.start;
        writer
            .write_zeroes(range.clone())
            .map_err(|source| TransferError::zero((range.start, length), source))?;
        self.progress.zeroed(length);
        Ok(())
    }

    /// What waited to be joined, then the target's tail; alone, because the tail shares a granule with the last block.
    fn zero_rest(
        &self,
        writer: &mut dyn WriteWorker,
        source_size: u64,
        tail: Tail,
        cancel: &Cancel,
    ) -> Result<(), TransferError> {
        let mut ranges = self.zeroes.take();
        if tail == Tail::Zero && self.target.initial_content() == InitialContent::Unknown {
            let end = self.target.size();
            let mut at = source_size;
            while at < end {
                let stop = end.min((at + TAIL_PIECE) / TAIL_PIECE * TAIL_PIECE);
                ranges.push(at..stop);
                at = stop;
            }
        }
        for range in ranges {
            if cancel.is_cancelled() {
                let length = range.end - range.start;
                return Err(TransferError::zero(
                    (range.start, length),
                    crate::block::BlockError::Interrupted,
                ));
            }
            self.zero(writer, range)?;
        }
        writer
            .drain()
            .map_err(|source| TransferError::zero((source_size, 0), source))
    }
}
