//! Zeroes: finding them in what was read, and joining many small ranges into few large calls.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;

/// Granularity of the search: what is worth an extent of its own on a thin volume.
pub(super) const GRAIN: usize = 64 << 10;
/// A joined range of this size is worth its call.
const RIPE: u64 = 128 << 20;
/// Ranges held back at most.
const MOST_HELD: usize = 1024;

static ZEROES: [u8; GRAIN] = [0; GRAIN];

/// A run of bytes of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    Data(Range<usize>),
    Zero(Range<usize>),
}

/// Cuts a part of a block into runs of data and of zeroes, along multiples of the grain.
pub(super) fn runs(block: &[u8], part: Range<usize>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut at = part.start;
    while at < part.end {
        let end = part.end.min((at / GRAIN + 1) * GRAIN);
        let grain = &block[at..end];
        let zero = *grain == ZEROES[..grain.len()];
        match runs.last_mut() {
            Some(Run::Data(last)) if !zero => last.end = end,
            Some(Run::Zero(last)) if zero => last.end = end,
            _ if zero => runs.push(Run::Zero(at..end)),
            _ => runs.push(Run::Data(at..end)),
        }
        at = end;
    }
    runs
}

/// Zero ranges that wait to be joined with their neighbours.
#[derive(Debug, Default)]
pub(super) struct ZeroList {
    held: Mutex<BTreeMap<u64, u64>>,
}

impl ZeroList {
    /// Adds a range (disjoint from all others) and returns what is to be zeroed now.
    pub(super) fn add(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut held = self.held.lock();
        let Range { mut start, mut end } = range;
        if let Some((&before, _)) = held
            .range(..start)
            .next_back()
            .filter(|(_, stop)| **stop == start)
        {
            held.remove(&before);
            start = before;
        }
        if let Some(after) = held.remove(&end) {
            end = after;
        }
        if end - start >= RIPE {
            return std::iter::once(start..end).collect();
        }
        held.insert(start, end);
        if held.len() > MOST_HELD {
            take_all(&mut held)
        } else {
            Vec::new()
        }
    }

    /// Everything that is still held.
    pub(super) fn take(&self) -> Vec<Range<u64>> {
        take_all(&mut self.held.lock())
    }
}

fn take_all(held: &mut BTreeMap<u64, u64>) -> Vec<Range<u64>> {
    std::mem::take(held)
        .into_iter()
        .map(|(start, end)| start..end)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_tile_the_part_and_tell_the_truth(
            fills in prop::collection::vec(0u8..2, 1..8), start in 0usize..70_000, cut in 0usize..70_000,
        ) {
            let block: Vec<u8> = fills.iter().flat_map(|fill| vec![*fill; GRAIN]).collect();
            let part = start.min(block.len())..block.len().saturating_sub(cut).max(start.min(block.len()));
            let mut at = part.start;
            for run in runs(&block, part.clone()) {
                let (range, zero) = match run {
                    Run::Zero(range) => (range, true),
                    Run::Data(range) => (range, false),
                };
                prop_assert_eq!(range.start, at);
                prop_assert_eq!(block[range.clone()].iter().all(|byte| *byte == 0), zero);
                at = range.end;
            }
            prop_assert_eq!(at, part.end);
        }

        #[test]
        fn the_list_gives_back_exactly_what_was_added(order in Just((0u64..300).collect::<Vec<_>>()).prop_shuffle(), keep in prop::collection::vec(any::<bool>(), 300)) {
            let list = ZeroList::default();
            let size = 1u64 << 20;
            let mut out = Vec::new();
            for index in order.iter().copied().filter(|index| keep[usize::try_from(*index).unwrap()]) {
                out.extend(list.add(index * size..(index + 1) * size));
            }
            out.extend(list.take());
            let mut seen = [false; 300];
            for range in out {
                for index in range.start / size..range.end / size {
                    let index = usize::try_from(index).unwrap();
                    prop_assert!(!std::mem::replace(&mut seen[index], true), "twice");
                }
            }
            prop_assert_eq!(seen.to_vec(), keep);
        }
    }

    #[test]
    fn neighbours_become_one_call() {
        let list = ZeroList::default();
        for index in [0u64, 2, 1, 3] {
            assert_eq!(list.add(index * 4096..(index + 1) * 4096), vec![]);
        }
        assert_eq!(list.take(), vec![0..4 * 4096]);
    }
}
