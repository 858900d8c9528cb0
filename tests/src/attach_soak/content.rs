//! What every block of every volume must hold: a model in memory, and the bytes that belong to it.

use std::collections::BTreeMap;

use uuid::Uuid;

/// The bytes of a block.
pub(super) const BLOCK: usize = 4096;

/// What a block that was read is, by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// What was written, or zeroes where nothing ever was.
    Right,
    /// Anything else; says what it looks like.
    Wrong(String),
}

/// What the blocks of one volume may hold.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The volume in the cloud: it stands in every block.
    pub(super) volume: Uuid,
    /// The versions that a block may have: several where it is not known whether a write arrived. 0 is never written.
    blocks: BTreeMap<u64, Vec<u64>>,
    last: u64,
}

impl Model {
    /// A fresh volume: it reads as zeroes.
    pub(super) fn of(volume: Uuid) -> Self {
        Self {
            volume,
            blocks: BTreeMap::new(),
            last: 0,
        }
    }

    /// The numbers of the blocks that were ever written to, in order.
    pub(super) fn written(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }

    /// The bytes to write to a block. From here on it may hold them, or what it held before.
    pub(super) fn intend(&mut self, block: u64) -> Vec<u8> {
        self.last += 1;
        self.blocks
            .entry(block)
            .or_insert_with(|| vec![0])
            .push(self.last);
        bytes(self.volume, block, self.last)
    }

    /// The block was written and has reached the disk: it holds the last that was intended, and nothing else.
    pub(super) fn settle(&mut self, block: u64) {
        if let Some(versions) = self.blocks.get_mut(&block) {
            versions.drain(..versions.len().saturating_sub(1));
        }
    }

    /// What these bytes of a block are.
    pub(super) fn judge(&self, block: u64, found: &[u8]) -> Judgement {
        let allowed = self.blocks.get(&block).map_or(&[0][..], Vec::as_slice);
        if allowed
            .iter()
            .any(|version| bytes(self.volume, block, *version) == found)
        {
            return Judgement::Right;
        }
        let head = String::from_utf8_lossy(&found[..found.len().min(90)]);
        let looks = if found.iter().all(|byte| *byte == 0) {
            "zeroes".into()
        } else {
            head
        };
        Judgement::Wrong(format!(
            "block {block} of volume {} should have one of the versions {allowed:?} and has `{looks}`",
            self.volume
        ))
    }
}

/// The whole block tells whose it is, where it lies and which version it is, so that no part of it can pass for another.
fn bytes(volume: Uuid, block: u64, version: u64) -> Vec<u8> {
    if version == 0 {
        return vec![0; BLOCK];
    }
    let text = format!("volume {volume}, block {block}, version {version}; ");
    text.bytes().cycle().take(BLOCK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_right() {
        let mut model = Model::of(Uuid::from_u128(1));
        assert_eq!(model.judge(5, &[0; BLOCK]), Judgement::Right);
        let first = model.intend(5);
        // It may not have arrived.
        assert_eq!(model.judge(5, &[0; BLOCK]), Judgement::Right);
        assert_eq!(model.judge(5, &first), Judgement::Right);
        model.settle(5);
        assert_eq!(model.judge(5, &first), Judgement::Right);
        assert_ne!(model.judge(5, &[0; BLOCK]), Judgement::Right);
        assert_ne!(model.judge(6, &first), Judgement::Right);
        assert_ne!(Model::of(Uuid::from_u128(2)).judge(5, &first), Judgement::Right);
    }

    #[test]
    fn an_older_version_is_wrong_once_the_newer_one_has_arrived() {
        let mut model = Model::of(Uuid::from_u128(1));
        let (first, second) = (model.intend(5), model.intend(5));
        assert_eq!(model.judge(5, &first), Judgement::Right);
        model.settle(5);
        assert!(matches!(model.judge(5, &first), Judgement::Wrong(said) if said.contains("version 1")));
        assert_eq!(model.judge(5, &second), Judgement::Right);
    }
}
