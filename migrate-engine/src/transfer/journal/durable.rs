//! What a journal tells: the blocks and the zeroes that are in their place, and what that leaves to be done.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::digest::{BLOCK_SIZE, BlockDigest};
use super::Entry;
use crate::block::Extent;
use crate::block::extent::{self, ExtentKind};

/// What the target durably holds of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durable {
    pub(super) blocks: BTreeMap<u64, DurableBlock>,
    pub(super) zeroed: Vec<Range<u64>>,
}

/// A block whose data is in its place; of its zeroes others tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct DurableBlock {
    /// The digest of the whole block.
    pub(in super::super) digest: BlockDigest,
    /// How many bytes of data were written.
    pub(in super::super) moved: u32,
    /// Where it has to be zero, in order, counted from the start of the block.
    pub(in super::super) zeros: Vec<Range<u32>>,
}

impl Durable {
    /// For [`from_bytes`](Self::from_bytes), elsewhere.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let blocks = self.blocks.iter();
        let blocks = blocks.map(|(index, block)| Entry::Block(*index, block.clone()));
        let zeroed = self.zeroed.iter().cloned().map(Entry::Zeroed);
        let mut bytes = Vec::new();
        blocks.chain(zeroed).for_each(|entry| entry.encode(&mut bytes));
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) told; `None` where it makes no sense for a source and a target of these sizes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], source_size: u64, target_size: u64) -> Option<Self> {
        let mut durable = Self::default();
        for entry in super::entry::decode(bytes, source_size, target_size)? {
            durable.add(entry);
        }
        durable.tidy();
        Some(durable)
    }

    /// How many bytes of data were written.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.blocks.values().map(|block| u64::from(block.moved)).sum()
    }

    /// Whether nothing is known to be there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.zeroed.is_empty()
    }

    /// The blocks whose data is there, with their digests.
    pub(in super::super) fn digests(&self) -> impl Iterator<Item = (u64, BlockDigest)> {
        self.blocks.iter().map(|(index, block)| (*index, block.digest))
    }

    /// What is left to be done of the extents of a window, and how many bytes of data that saves. The extents tile the
    /// window, which begins on a block and ends on one or at the end of the source.
    pub(in super::super) fn outstanding(
        &self,
        extents: Vec<Extent>,
        window: &Range<u64>,
    ) -> (Vec<Extent>, u64) {
        let numbers = window.start / BLOCK_SIZE..window.end.div_ceil(BLOCK_SIZE);
        let done: Vec<_> = self.blocks.range(numbers).collect();
        if done.is_empty() && self.zeroed.is_empty() {
            return (extents, 0);
        }
        let place = |index: u64| index * BLOCK_SIZE..window.end.min((index + 1) * BLOCK_SIZE);
        let whole: Vec<_> = done.iter().map(|(index, _)| place(**index)).collect();
        let untouched = extent::subtract(&extents, &whole);
        let (mut data, mut zeroes): (Vec<_>, Vec<_>) = untouched
            .into_iter()
            .partition(|extent| extent.kind == ExtentKind::Data);
        let mut saved = 0;
        for (index, block) in done {
            let start = index * BLOCK_SIZE;
            let owed = block.zeros.iter();
            let owed = owed.map(|run| Extent::zero(start + u64::from(run.start)..start + u64::from(run.end)));
            zeroes.extend(owed);
            saved += u64::from(block.moved);
        }
        zeroes.sort_unstable_by_key(|extent| extent.offset);
        data.extend(extent::subtract(&extent::merge(zeroes), &self.zeroed));
        data.sort_unstable_by_key(|extent| extent.offset);
        (extent::merge(data), saved)
    }

    /// What of a range is not zeroed.
    pub(in super::super) fn not_zeroed(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        extent::gaps(&self.zeroed, range)
    }

    pub(super) fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Block(index, block) => {
                self.blocks.insert(index, block);
            }
            Entry::Zeroed(range) => self.zeroed.push(range),
        }
    }

    /// Brings the zeroes into order, after the last entry.
    pub(super) fn tidy(&mut self) {
        self.zeroed = extent::normalize(std::mem::take(&mut self.zeroed));
    }
}
