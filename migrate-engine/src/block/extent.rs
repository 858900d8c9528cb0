//! Extents and their algebra: pure functions over ordered ranges of a disk.

use std::ops::Range;

/// What an extent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Bytes that have to be read to be known.
    Data,
    /// Bytes that read as zero.
    Zero,
}

/// A range of a disk, in bytes, of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// What it holds.
    pub kind: ExtentKind,
}

/// Why extents do not tile a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoverageError {
    /// Nothing says what is at `offset`.
    #[error("gap in the extents at offset {offset}")]
    Gap {
        /// First byte of the gap.
        offset: u64,
    },
    /// Two extents claim `offset`.
    #[error("overlapping extents at offset {offset}")]
    Overlap {
        /// First byte claimed twice.
        offset: u64,
    },
    /// An extent of no bytes, or one that passes the end of the range.
    #[error("extent of {length} bytes at offset {offset} is empty or passes the end at {end}")]
    BadLength {
        /// Where the extent starts.
        offset: u64,
        /// Its length.
        length: u64,
        /// Where the range ends.
        end: u64,
    },
}

impl Extent {
    /// An extent that holds data.
    pub fn data(range: Range<u64>) -> Self {
        Self {
            offset: range.start,
            length: range.end.saturating_sub(range.start),
            kind: ExtentKind::Data,
        }
    }

    /// An extent that reads as zero.
    pub fn zero(range: Range<u64>) -> Self {
        Self {
            kind: ExtentKind::Zero,
            ..Self::data(range)
        }
    }

    /// First byte after the extent.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The extent as a range.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.end()
    }

    /// The part of the extent inside `range`, if there is one.
    pub fn intersect(&self, range: &Range<u64>) -> Option<Self> {
        let start = self.offset.max(range.start);
        let end = self.end().min(range.end);
        (start < end).then(|| Self {
            offset: start,
            length: end - start,
            kind: self.kind,
        })
    }
}

/// Joins neighbours of one kind and drops empty extents. The extents must be in order; gaps stay gaps.
pub fn merge(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut merged: Vec<Extent> = Vec::new();
    for extent in extents.into_iter().filter(|extent| extent.length > 0) {
        match merged.last_mut() {
            Some(last) if last.kind == extent.kind && last.end() == extent.offset => {
                last.length += extent.length;
            }
            _ => merged.push(extent),
        }
    }
    merged
}

/// Cuts extents into pieces that do not cross a multiple of `size` (not zero).
pub fn split_at(extents: &[Extent], size: u64) -> impl Iterator<Item = Extent> {
    extents.iter().flat_map(move |extent| {
        let (mut at, end, kind) = (extent.offset, extent.end(), extent.kind);
        std::iter::from_fn(move || {
            let stop = (at / size).saturating_add(1).saturating_mul(size).min(end);
            let piece = (at < end).then(|| Extent {
                offset: at,
                length: stop - at,
                kind,
            });
            at = stop;
            piece
        })
    })
}

/// The parts of the extents inside `range`.
pub fn intersect(extents: &[Extent], range: &Range<u64>) -> Vec<Extent> {
    extents
        .iter()
        .filter_map(|extent| extent.intersect(range))
        .collect()
}

/// The parts of the extents outside every range of `holes`. Both are in order and disjoint; the cost is that of one pass.
pub fn subtract(extents: &[Extent], holes: &[Range<u64>]) -> Vec<Extent> {
    let mut left = Vec::new();
    let mut first = 0;
    for extent in extents {
        // A hole that ends before this extent ends before all that follow.
        while holes.get(first).is_some_and(|hole| hole.end <= extent.offset) {
            first += 1;
        }
        let mut at = extent.offset;
        for hole in holes[first..].iter().take_while(|hole| hole.start < extent.end()) {
            left.extend(extent.intersect(&(at..hole.start.max(at))));
            at = at.max(hole.end);
        }
        left.extend(extent.intersect(&(at..extent.end().max(at))));
    }
    left
}

/// What of `range` no part covers. The parts are in order and disjoint; what lies outside of `range` counts for nothing.
pub fn gaps(parts: &[Range<u64>], range: &Range<u64>) -> Vec<Range<u64>> {
    let whole = [Extent::zero(range.clone())];
    let whole = merge(whole);
    subtract(&whole, parts).iter().map(Extent::range).collect()
}

/// Brings ranges into order and joins those that touch or overlap; drops empty ones.
pub fn normalize(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Checks that the extents tile `range`: in order, no gap, no overlap, nothing empty, nothing beyond.
pub fn check_coverage(extents: &[Extent], range: &Range<u64>) -> Result<(), CoverageError> {
    let mut at = range.start;
    for extent in extents {
        if extent.offset > at {
            return Err(CoverageError::Gap { offset: at });
        }
        if extent.offset < at {
            return Err(CoverageError::Overlap {
                offset: extent.offset,
            });
        }
        if extent.length == 0 || extent.length > range.end - at {
            return Err(CoverageError::BadLength {
                offset: at,
                length: extent.length,
                end: range.end,
            });
        }
        at += extent.length;
    }
    if at < range.end {
        Err(CoverageError::Gap { offset: at })
    } else {
        Ok(())
    }
}

/// Moves every boundary to a multiple of `alignment` (a power of two) without ever calling data zero: data grows,
/// zeroes shrink. The extents must tile a range that starts aligned; its end may be unaligned and stays.
pub fn align_towards_data(extents: &[Extent], alignment: u64) -> Vec<Extent> {
    let Some(end) = extents.last().map(Extent::end) else {
        return Vec::new();
    };
    let mask = alignment - 1;
    let mut aligned: Vec<Extent> = Vec::with_capacity(extents.len());
    let mut at = extents[0].offset;
    for extent in extents
        .iter()
        .filter(|extent| extent.kind == ExtentKind::Data && extent.length > 0)
    {
        let start = (extent.offset & !mask).max(at);
        let stop = (extent.end().saturating_add(mask) & !mask).min(end);
        if start >= stop {
            continue;
        }
        aligned.extend((at < start).then(|| Extent::zero(at..start)));
        aligned.push(Extent::data(start..stop));
        at = stop;
    }
    aligned.extend((at < end).then(|| Extent::zero(at..end)));
    merge(aligned)
}

/// Total length of the extents of one kind.
pub fn total(extents: &[Extent], kind: ExtentKind) -> u64 {
    extents
        .iter()
        .filter(|extent| extent.kind == kind)
        .map(|extent| extent.length)
        .sum()
}

#[cfg(test)]
mod tests;
