//! What the areas in use say of a range: data within them, zeroes between them. Pure.

use std::ops::Range;

use crate::block::{Extent, extent};

/// Tiles `range` by areas in order and disjoint; what of them lies outside of it counts for nothing.
pub(in super::super) fn tiled(areas: &[Range<u64>], range: &Range<u64>) -> Vec<Extent> {
    let first = areas.partition_point(|area| area.end <= range.start);
    let inside = areas[first..].iter().take_while(|area| area.start < range.end);
    let mut at = range.start;
    let mut extents = Vec::new();
    for area in inside {
        let data = area.start.max(at)..area.end.min(range.end);
        extents.push(Extent::zero(at..data.start));
        at = data.end;
        extents.push(Extent::data(data));
    }
    extents.push(Extent::zero(at..range.end));
    extent::merge(extents)
}
