//! What is left to do: extents, learnt window by window, handed out as blocks to move and ranges to zero.
//!
//! Boundaries are moved to whole granules first (data grows, zeroes shrink), so that two tasks never touch one
//! granule: workers need no order among themselves, and direct I/O always fits. Only the end of the disk may be
//! unaligned, and exactly one task touches it.

use std::collections::VecDeque;
use std::ops::Range;

use parking_lot::Mutex;

use super::digest::BLOCK_SIZE;
use super::error::TransferError;
use super::journal::Durable;
use super::progress::Progress;
use super::scope::{Changes, clip};
use crate::block::extent::{self, ExtentKind};
use crate::block::{BlockError, Cancel, Extent, ReadWorker};

/// Extents are asked for in windows of this size; a multiple of the block.
const WINDOW: u64 = 2 << 30;
/// Ranges known ahead of the work at most, before one more window is asked for: the map of all but giant or
/// scattered disks, so that the amount of data is known from the start.
const MOST_KNOWN: usize = 64 << 10;
/// The largest range zeroed by one call: a kernel that has to write zeroes cannot be interrupted meanwhile.
const ZERO_PIECE: u64 = 256 << 20;

/// Whether the reader's extents are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extents {
    Ask,
    EverythingIsData,
}

/// Whether zero ranges are tasks, or nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroRanges {
    HandOut,
    Skip,
    /// Only those that an earlier run has left to be done.
    OnlyOwed,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    Block(BlockTask),
    Zero(Range<u64>),
}

/// A block that holds data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockTask {
    pub(super) index: u64,
    /// Bytes of the disk in this block; less than a whole block only at the end.
    pub(super) length: usize,
    /// Where its data is, ascending and disjoint; the rest is zero.
    pub(super) parts: Vec<Range<usize>>,
    /// The last read may have to go this far, to end on a granule.
    read_to: usize,
}

pub(super) struct Plan<'a> {
    pub(super) progress: &'a Progress,
    /// How much of the disk is to be covered, in bytes.
    pub(super) limit: u64,
    pub(super) disk_size: u64,
    pub(super) alignment: u64,
    pub(super) extents: Extents,
    pub(super) zero_ranges: ZeroRanges,
    /// What is to be looked at, where that is not everything.
    pub(super) changes: Option<&'a Changes>,
    /// What an earlier run has done.
    pub(super) done: &'a Durable,
    pub(super) known: Mutex<Known>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    mapped_to: u64,
    data: VecDeque<Range<u64>>,
    zeroes: VecDeque<Range<u64>>,
}

impl BlockTask {
    pub(super) fn offset(&self) -> u64 {
        self.index * BLOCK_SIZE
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// The parts as they have to be read.
    pub(super) fn wanted(&self) -> Vec<Range<usize>> {
        let mut wanted = self.parts.clone();
        if let Some(last) = wanted.last_mut().filter(|last| last.end == self.length) {
            last.end = self.read_to;
        }
        wanted
    }

    /// Fills what is not read with zeroes.
    pub(super) fn clear_gaps(&self, buffer: &mut [u8]) {
        let mut at = 0;
        for part in &self.parts {
            buffer[at..part.start].fill(0);
            at = part.end;
        }
        buffer[at..self.length].fill(0);
    }
}

impl Plan<'_> {
    /// Learns extents up to a bounded number.
    pub(super) fn look_ahead(&self, reader: &mut dyn ReadWorker, stop: &Cancel) -> Result<(), TransferError> {
        let mut known = self.known.lock();
        while known.mapped_to < self.limit && known.data.len() + known.zeroes.len() < MOST_KNOWN {
            if stop.is_cancelled() {
                let (offset, source) = (known.mapped_to, BlockError::Interrupted);
                return Err(TransferError::Extents { offset, source });
            }
            self.map_window(&mut known, reader)?;
        }
        Ok(())
    }

    /// The next task; learns more extents where it has to, through the caller's own handle.
    pub(super) fn next(&self, reader: &mut dyn ReadWorker) -> Result<Option<Task>, TransferError> {
        let mut known = self.known.lock();
        loop {
            if let Some(range) = known.next_zeroes() {
                return Ok(Some(Task::Zero(range)));
            }
            if let Some(block) = self.next_block(&mut known) {
                return Ok(Some(Task::Block(block)));
            }
            if known.mapped_to >= self.limit {
                return Ok(None);
            }
            self.map_window(&mut known, reader)?;
        }
    }

    fn round_up(&self, at: u64) -> u64 {
        at.next_multiple_of(self.alignment).min(self.disk_size)
    }

    /// Learns the next window's extents, or that there is none.
    fn map_window(&self, known: &mut Known, reader: &mut dyn ReadWorker) -> Result<(), TransferError> {
        let start = match self.changes {
            None => known.mapped_to,
            Some(changes) => changes.next(known.mapped_to).unwrap_or(self.limit),
        };
        let window = start..self.limit.min(start + WINDOW);
        known.mapped_to = window.end;
        if window.is_empty() {
            return Ok(());
        }
        let asked = window.start..self.round_up(window.end);
        let failed = |source| TransferError::Extents {
            offset: window.start,
            source,
        };
        let found = match self.extents {
            Extents::Ask => reader.extents(asked.clone()).map_err(failed)?,
            Extents::EverythingIsData => [Extent::data(asked.clone())].into(),
        };
        extent::check_coverage(&found, &asked).map_err(|error| failed(BlockError::BadExtents(error)))?;
        let extents = extent::intersect(&extent::align_towards_data(&found, self.alignment), &window);
        let extents = match self.zero_ranges {
            ZeroRanges::HandOut | ZeroRanges::Skip => extents,
            ZeroRanges::OnlyOwed => of_kind(extents, ExtentKind::Data),
        };
        let (extents, saved) = self.done.outstanding(extents, &window);
        let (extents, length) = match self.changes {
            None => (extents, window.end - window.start),
            Some(changes) => narrowed(extents, changes, &window),
        };
        let [data, zero] = [ExtentKind::Data, ExtentKind::Zero].map(|kind| extent::total(&extents, kind));
        self.progress.mapped(data, zero);
        self.progress.resumed(saved, length - data - zero);
        for extent in extents {
            match extent.kind {
                ExtentKind::Data => push_joined(&mut known.data, extent.range()),
                ExtentKind::Zero if self.zero_ranges == ZeroRanges::Skip => {}
                ExtentKind::Zero => push_joined(&mut known.zeroes, extent.range()),
            }
        }
        Ok(())
    }

    fn next_block(&self, known: &mut Known) -> Option<BlockTask> {
        let index = known.data.front()?.start / BLOCK_SIZE;
        let start = index * BLOCK_SIZE;
        let end = self.limit.min(start + BLOCK_SIZE);
        let inside = |at: u64| usize::try_from(at - start).expect("a position inside a block fits");
        let mut parts = Vec::new();
        while let Some(front) = known.data.front_mut().filter(|front| front.start < end) {
            let stop = front.end.min(end);
            parts.push(inside(front.start)..inside(stop));
            front.start = stop;
            if front.is_empty() {
                known.data.pop_front();
            }
        }
        Some(BlockTask {
            index,
            length: inside(end),
            parts,
            read_to: inside(self.round_up(end)),
        })
    }
}

impl Known {
    fn next_zeroes(&mut self) -> Option<Range<u64>> {
        let front = self.zeroes.front_mut()?;
        let stop = front.end.min(front.start + ZERO_PIECE);
        let piece = front.start..stop;
        front.start = stop;
        if front.is_empty() {
            self.zeroes.pop_front();
        }
        Some(piece)
    }
}

fn of_kind(mut extents: Vec<Extent>, kind: ExtentKind) -> Vec<Extent> {
    extents.retain(|extent| extent.kind == kind);
    extents
}

/// Of the extents of a window what an update is about: data of whole blocks, so that they can be hashed, and zeroes where
/// something changed; with the length of those blocks.
fn narrowed(extents: Vec<Extent>, changes: &Changes, window: &Range<u64>) -> (Vec<Extent>, u64) {
    let touched = clip(changes.touched(), window);
    let length = touched.iter().map(|range| range.end - range.start).sum();
    let only = |extents: Vec<Extent>, ranges: &[Range<u64>]| {
        extent::subtract(&extents, &extent::gaps(ranges, window))
    };
    let (data, zeroes): (Vec<_>, Vec<_>) = extents
        .into_iter()
        .partition(|extent| extent.kind == ExtentKind::Data);
    let mut left = only(data, &touched);
    left.extend(only(zeroes, &clip(changes.ranges(), window)));
    left.sort_unstable_by_key(|extent| extent.offset);
    (left, length)
}

fn push_joined(queue: &mut VecDeque<Range<u64>>, range: Range<u64>) {
    match queue.back_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => queue.push_back(range),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
