//! The plan covers every byte exactly once, whatever the extents are.

use proptest::prelude::*;

use super::*;
use crate::block::ReadRequest;

/// A reader that only knows extents.
struct Map(Vec<Extent>);

impl ReadWorker for Map {
    fn depth(&self) -> usize {
        1
    }
    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        Ok(extent::intersect(&self.0, &range))
    }
    fn submit(&mut self, _: ReadRequest) -> Result<(), BlockError> {
        Err(BlockError::NothingInFlight)
    }
    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        Err(BlockError::NothingInFlight)
    }
}

static NOTHING: std::sync::LazyLock<Durable> = std::sync::LazyLock::new(Durable::default);

fn plan(progress: &Progress, size: u64, alignment: u64) -> Plan<'_> {
    Plan {
        progress,
        limit: size,
        disk_size: size,
        alignment,
        extents: Extents::Ask,
        zero_ranges: ZeroRanges::HandOut,
        changes: None,
        done: &NOTHING,
        known: Mutex::default(),
    }
}

fn tasks(plan: &Plan<'_>, map: &mut Map) -> Vec<Task> {
    std::iter::from_fn(|| plan.next(map).unwrap()).collect()
}

proptest! {
    #[test]
    fn every_byte_is_moved_or_zeroed_exactly_once(
        parts in prop::collection::vec((prop_oneof![1u64..5000, 100_000u64..3_000_000, Just(700 << 20)], any::<bool>()), 1..20),
        power in 12u32..17,
    ) {
        let mut at = 0;
        let extents: Vec<Extent> = parts.into_iter().map(|(length, data)| {
            let range = at..at + length;
            at += length;
            if data { Extent::data(range) } else { Extent::zero(range) }
        }).collect();
        let progress = Progress::new();
        let plan = plan(&progress, at, 1 << power);
        let mut seen: Vec<Extent> = Vec::new();
        let mut blocks = Vec::new();
        for task in tasks(&plan, &mut Map(extents.clone())) {
            match task {
                Task::Zero(range) => seen.push(Extent::zero(range)),
                Task::Block(block) => {
                    blocks.push(block.index);
                    for part in &block.parts {
                        seen.push(Extent::data(block.offset() + part.start as u64..block.offset() + part.end as u64));
                    }
                }
            }
        }
        seen.sort_by_key(|extent| extent.offset);
        prop_assert_eq!(extent::check_coverage(&seen, &(0..at)), Ok(()));
        prop_assert!(seen.iter().all(|extent| extent.offset % (1 << power) == 0));
        let data = |extents: &[Extent]| -> Vec<Range<u64>> {
            extent::merge(extents.iter().copied()).into_iter().filter(|e| e.kind == ExtentKind::Data).map(|e| e.range()).collect()
        };
        let planned = data(&seen);
        for range in data(&extents) {
            prop_assert!(planned.iter().any(|p| p.start <= range.start && p.end >= range.end), "data lost");
        }
        prop_assert!(blocks.windows(2).all(|pair| pair[0] < pair[1]), "a block comes once");
    }
}

#[test]
fn contradicting_extents_are_refused() {
    let progress = Progress::new();
    let mut map = Map(vec![Extent::data(0..100), Extent::data(200..1 << 20)]);
    let error = plan(&progress, 1 << 20, 4096).next(&mut map).unwrap_err();
    assert!(matches!(
        error,
        TransferError::Extents {
            source: BlockError::BadExtents(_),
            ..
        }
    ));
}

#[test]
fn gaps_of_a_used_buffer_become_zero() {
    let block = BlockTask {
        index: 0,
        length: 90,
        parts: vec![10..20, 30..40],
        read_to: 90,
    };
    let mut buffer = [7u8; 100];
    block.clear_gaps(&mut buffer);
    for (at, byte) in buffer.iter().enumerate() {
        let kept = (10..20).contains(&at) || (30..40).contains(&at) || at >= 90;
        assert_eq!(*byte, if kept { 7 } else { 0 }, "{at}");
    }
}
