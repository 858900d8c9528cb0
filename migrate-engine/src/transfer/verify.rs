//! Verification: reads a disk back and compares it with a digest.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Instant;

use super::crew::{self, Step, Supply};
use super::digest::{BLOCK_SIZE, BlockHasher, DiskDigest, RootDigest};
use super::error::TransferError;
use super::journal::Durable;
use super::plan::{Extents, Plan, ZeroRanges};
use super::progress::{Phase, Progress};
use super::rate::RateLimit;
use super::report::{FlushState, Interrupted, Mismatch, VerifyReport};
use super::scope::Changes;
use crate::block::{BlockRead, Cancel};

/// Differing ranges that are named.
const MOST_NAMED: usize = 16;
const SMALLEST_GRANULE: u64 = 4096;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coverage {
    /// Every byte.
    #[default]
    EveryByte,
    /// What the disk reports as zero is believed; only sensible where that report is not the thing in doubt.
    TrustZeroExtents,
    /// So many of a hundred blocks of 1 MiB, chosen by chance anew each time, the first and the last among them. A root alone cannot
    /// be compared with a part: then every byte is read.
    Sample(u8),
}

/// What the disk should hold.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// Block digests: a difference can be located.
    Disk(&'a DiskDigest),
    /// Only the root: the answer is yes or no.
    Root(&'a RootDigest),
}

/// How to verify.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Most threads.
    pub workers: usize,
    /// What is read.
    pub coverage: Coverage,
    /// Only the blocks that these ranges touch, where there are some: what else there is was compared before. With a
    /// root alone every byte is read.
    pub only: Option<Vec<Range<u64>>>,
    /// Cap on bytes read per second.
    pub rate: RateLimit,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            workers: 4,
            coverage: Coverage::default(),
            only: None,
            rate: RateLimit::default(),
        }
    }
}

impl Expected<'_> {
    fn root(&self) -> &RootDigest {
        match self {
            Self::Disk(digest) => digest.root(),
            Self::Root(root) => root,
        }
    }
}

/// The blocks that are read, where that is not all of them.
fn part(expected: Expected<'_>, options: &VerifyOptions) -> Option<Changes> {
    let Expected::Disk(digest) = expected else {
        return None;
    };
    let (size, count) = (digest.root().size, digest.blocks().len() as u64);
    if let Some(ranges) = &options.only {
        return Some(Changes::new(ranges, BLOCK_SIZE, size));
    }
    let Coverage::Sample(percent) = options.coverage else {
        return None;
    };
    let chance = RandomState::new();
    let chosen =
        |index: &u64| *index == 0 || index + 1 == count || chance.hash_one(index) % 100 < u64::from(percent);
    let ranges: Vec<_> = (0..count)
        .filter(chosen)
        .map(|index| index * BLOCK_SIZE..size.min((index + 1) * BLOCK_SIZE))
        .collect();
    Some(Changes::new(&ranges, BLOCK_SIZE, size))
}

/// Reads as many bytes of `disk` as the digest covers (a larger disk's tail is not looked at) and compares.
/// A difference is a report, not an error. Writes nothing; repeat it at will.
pub fn verify(
    disk: &dyn BlockRead,
    expected: Expected<'_>,
    options: &VerifyOptions,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<VerifyReport, TransferError> {
    let started = Instant::now();
    match read_back(disk, expected, options, progress, cancel) {
        Ok(found) => Ok(report(expected, found, progress, started)),
        Err(error) if error.is_interruption() && cancel.is_cancelled() => {
            let (totals, flush) = (progress.totals(), FlushState::NotFlushed);
            Err(TransferError::Cancelled(Box::new(Interrupted {
                totals,
                flush,
                elapsed: started.elapsed(),
            })))
        }
        Err(error) => Err(error),
    }
}

fn read_back(
    disk: &dyn BlockRead,
    wanted: Expected<'_>,
    options: &VerifyOptions,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<DiskDigest, TransferError> {
    let expected = wanted.root();
    if expected.size > disk.size() {
        return Err(TransferError::DiskTooSmall {
            expected: expected.size,
            found: disk.size(),
        });
    }
    let part = part(wanted, options);
    progress.begin(
        Phase::Verifying,
        part.as_ref().map_or(expected.size, Changes::bytes),
    );
    let stop = cancel.child();
    let plan = Plan {
        progress,
        limit: expected.size,
        disk_size: disk.size(),
        alignment: disk.alignment().max(SMALLEST_GRANULE),
        extents: match options.coverage {
            Coverage::EveryByte | Coverage::Sample(_) => Extents::EverythingIsData,
            Coverage::TrustZeroExtents => Extents::Ask,
        },
        zero_ranges: ZeroRanges::Skip,
        changes: part.as_ref(),
        done: &Durable::default(),
        known: parking_lot::Mutex::default(),
    };
    let open = || {
        disk.open_worker(&stop).map_err(|source| TransferError::Open {
            side: "disk to verify",
            source,
        })
    };
    let count = options.workers.min(disk.max_workers()).max(1);
    let mut first = open()?;
    plan.look_ahead(first.as_mut(), &stop)?;
    let hasher = BlockHasher::new(expected.kind, expected.size);
    let supply = Supply {
        plan: &plan,
        rate: &options.rate,
        stop: &stop,
    };
    let outcome = crew::run("verify", first, (count - 1, open), &stop, |reader| {
        let mut digests = Vec::new();
        crew::drive(reader.as_mut(), 0, &supply, |step| {
            if let Step::Block(block, buffer) = step {
                digests.push((block.index, hasher.block(&buffer[..block.length])));
                progress.moved(block.data_bytes(), 0, 0);
            }
            Ok(())
        })?;
        Ok(digests)
    });
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    progress.enter(Phase::Finished);
    let read = outcome.results.into_iter().flatten();
    Ok(match (wanted, &part) {
        (Expected::Disk(digest), Some(_)) => hasher.update(digest, read),
        _ => hasher.finish(read),
    })
}

fn report(expected: Expected<'_>, found: DiskDigest, progress: &Progress, started: Instant) -> VerifyReport {
    let (differing_blocks, first_mismatches) = match expected {
        Expected::Root(_) => (None, Vec::new()),
        Expected::Disk(digest) => {
            let (count, ranges) = differences(digest, &found);
            (Some(count), ranges)
        }
    };
    VerifyReport {
        expected: *expected.root(),
        found,
        differing_blocks,
        first_mismatches,
        bytes_read: progress.totals().bytes_read,
        elapsed: started.elapsed(),
    }
}

fn differences(expected: &DiskDigest, found: &DiskDigest) -> (u64, Vec<Mismatch>) {
    let (mut count, mut ranges) = (0, Vec::<Mismatch>::new());
    for (index, (ours, theirs)) in (0u64..).zip(expected.blocks().iter().zip(found.blocks())) {
        if ours == theirs {
            continue;
        }
        count += 1;
        let start = index * BLOCK_SIZE;
        let end = (start + BLOCK_SIZE).min(expected.root().size);
        let room = ranges.len() < MOST_NAMED;
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if room => ranges.push(start..end),
            _ => {}
        }
    }
    (count, ranges)
}
