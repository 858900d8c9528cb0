//! One entry of a journal, and its bytes.

use std::ops::Range;

use super::super::digest::{BLOCK_SIZE, BlockDigest};
use super::DurableBlock;

const BLOCK: u8 = 1;
const ZEROED: u8 = 2;

/// Something that a flush has covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Entry {
    Block(u64, DurableBlock),
    Zeroed(Range<u64>),
}

impl Entry {
    /// Appends its bytes: what it is (1 byte); for zeroes their begin and end (8 bytes each); for a block its number
    /// (8 bytes), its digest (32), how many bytes were written (4), the number of its runs of zeroes (2), and begin and end of each (4 bytes each).
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Zeroed(range) => {
                to.push(ZEROED);
                to.extend(range.start.to_le_bytes());
                to.extend(range.end.to_le_bytes());
            }
            Self::Block(index, block) => {
                to.push(BLOCK);
                to.extend(index.to_le_bytes());
                to.extend(block.digest.0);
                to.extend(block.moved.to_le_bytes());
                let count = u16::try_from(block.zeros.len()).expect("a block has at most 256 granules");
                to.extend(count.to_le_bytes());
                for run in &block.zeros {
                    to.extend(run.start.to_le_bytes());
                    to.extend(run.end.to_le_bytes());
                }
            }
        }
    }
}

/// Takes a row of entries apart; `None` where it makes no sense for a source and a target of these sizes.
pub(super) fn decode(mut bytes: &[u8], source_size: u64, target_size: u64) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = rest;
        entries.push(match *kind {
            ZEROED => {
                let range = number64(&mut bytes)?..number64(&mut bytes)?;
                if range.start > range.end || range.end > target_size {
                    return None;
                }
                Entry::Zeroed(range)
            }
            BLOCK => {
                let index = number64(&mut bytes)?;
                let start = index.checked_mul(BLOCK_SIZE)?;
                let length = source_size.checked_sub(start)?.min(BLOCK_SIZE);
                let digest = BlockDigest(take(&mut bytes)?);
                let moved = number32(&mut bytes)?;
                let count = u16::from_le_bytes(take(&mut bytes)?);
                let (mut zeros, mut at) = (Vec::new(), 0);
                for _ in 0..count {
                    let run = number32(&mut bytes)?..number32(&mut bytes)?;
                    if run.start < at || run.end <= run.start || u64::from(run.end) > length {
                        return None;
                    }
                    at = run.end;
                    zeros.push(run);
                }
                if u64::from(moved) > length {
                    return None;
                }
                let block = DurableBlock { digest, moved, zeros };
                Entry::Block(index, block)
            }
            _ => return None,
        });
    }
    Some(entries)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn number32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn number64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}
