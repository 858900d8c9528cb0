//! What of a disk a copy is about.

use std::ops::Range;

use super::digest::{BLOCK_SIZE, DiskDigest};
use crate::block::extent;

/// What of a disk a copy is about.
#[derive(Debug, Clone)]
pub(super) enum Scope<'a> {
    /// All of it.
    Everything,
    /// What somebody says has changed since the target was equal to a source of this digest.
    Changed(&'a DiskDigest, Changes),
    /// The blocks that differ from those of this digest, whose equal the target was.
    Differing(&'a DiskDigest),
}

/// Ranges that have changed, and the blocks that they touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// On whole granules, in order, disjoint.
    ranges: Vec<Range<u64>>,
    /// On whole blocks, in order, disjoint.
    touched: Vec<Range<u64>>,
}

impl Changes {
    /// Makes ranges grow to whole granules of a disk of this size; what lies beyond its end is cut off.
    pub(super) fn new(ranges: &[Range<u64>], granule: u64, size: u64) -> Self {
        let grown = |to: u64| {
            let ranges = ranges.iter().map(|range| {
                let end = range.end.min(size).next_multiple_of(to).min(size);
                range.start / to * to..end
            });
            extent::normalize(ranges.collect())
        };
        Self {
            ranges: grown(granule),
            touched: grown(BLOCK_SIZE),
        }
    }

    pub(super) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    pub(super) fn touched(&self) -> &[Range<u64>] {
        &self.touched
    }

    /// Where the next touched block begins, from `at` on.
    pub(super) fn next(&self, at: u64) -> Option<u64> {
        let index = self.touched.partition_point(|range| range.end <= at);
        self.touched.get(index).map(|range| range.start.max(at))
    }

    /// The numbers of the touched blocks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> {
        self.touched
            .iter()
            .flat_map(|range| range.start / BLOCK_SIZE..range.end.div_ceil(BLOCK_SIZE))
    }

    /// How many bytes the touched blocks have.
    pub(super) fn bytes(&self) -> u64 {
        self.touched.iter().map(|range| range.end - range.start).sum()
    }
}

impl Scope<'_> {
    pub(super) fn changes(&self) -> Option<&Changes> {
        match self {
            Self::Changed(_, changes) => Some(changes),
            Self::Everything | Self::Differing(_) => None,
        }
    }

    /// The digest of what the target is equal to, but for what is copied.
    pub(super) fn base(&self) -> Option<&DiskDigest> {
        match self {
            Self::Changed(base, _) | Self::Differing(base) => Some(base),
            Self::Everything => None,
        }
    }

    /// The parts of `place` that may be written.
    pub(super) fn within(&self, place: Range<u64>) -> Vec<Range<u64>> {
        match self.changes() {
            None => vec![place],
            Some(changes) => clip(&changes.ranges, &place),
        }
    }
}

/// The parts of ranges (in order, disjoint) inside of `place`.
pub(super) fn clip(ranges: &[Range<u64>], place: &Range<u64>) -> Vec<Range<u64>> {
    let first = ranges.partition_point(|range| range.end <= place.start);
    let inside = ranges[first..].iter().take_while(|range| range.start < place.end);
    inside
        .map(|range| range.start.max(place.start)..range.end.min(place.end))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_grow_and_stay_on_the_disk() {
        let size = 3 * BLOCK_SIZE + 5000;
        let changes = Changes::new(
            &[3 * BLOCK_SIZE + 4999..u64::MAX, 5..6, 4000..4200, 9..9],
            4096,
            size,
        );
        assert_eq!(changes.ranges(), [0..8192, 3 * BLOCK_SIZE + 4096..size]);
        assert_eq!(changes.touched(), [0..BLOCK_SIZE, 3 * BLOCK_SIZE..size]);
        assert_eq!(changes.blocks().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(changes.bytes(), BLOCK_SIZE + 5000);
        let next: Vec<_> = [0, 7, BLOCK_SIZE, size].map(|at| changes.next(at)).to_vec();
        assert_eq!(next, [Some(0), Some(7), Some(3 * BLOCK_SIZE), None]);
        assert_eq!(
            clip(changes.ranges(), &(4096..BLOCK_SIZE * 4)),
            [4096..8192, 3 * BLOCK_SIZE + 4096..size]
        );
    }
}
