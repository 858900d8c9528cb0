//! The block-tree digest: a hash of a whole disk that many threads can compute out of order.
//!
//! Definition. The disk is cut into blocks of 1 MiB from its start; the last one may be shorter and is hashed as it
//! is, without padding. A block's digest is BLAKE3-256 of its bytes, or XXH3-128 (big-endian, then 16 zero bytes).
//! The root is BLAKE3 in key derivation mode, with [`CONTEXT`], over: one byte for the kind, the size of the disk
//! and the block size, then for each block its index and its digest; all numbers 8 bytes, little-endian.
//!
//! It depends on the bytes and the size alone, not on what is allocated or in which order it was read. A block of
//! zeroes has a constant digest, so holes cost nothing. XXH3 is the default and finds accidents, at a fraction of the
//! price; BLAKE3 resists forgery as well (docs/adr/0016).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use twox_hash::XxHash3_128;

use crate::model::DigestKind;

/// Bytes per block.
pub const BLOCK_SIZE: u64 = 1 << 20;

/// Domain of the root hash; changing the definition changes this.
const CONTEXT: &str = "volumed 2026 block-tree disk digest v1";

/// The digest of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockDigest(pub [u8; 32]);

/// What identifies a disk's content: kind, size and root. Reads and prints as `xxh3-tree:<size>:<hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootDigest {
    /// How its blocks were hashed.
    pub kind: DigestKind,
    /// Size of the disk in bytes.
    pub size: u64,
    /// The root hash.
    pub root: [u8; 32],
}

/// A root with the digests of all blocks, which can tell where a difference is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDigest {
    root: RootDigest,
    blocks: Arc<[BlockDigest]>,
}

/// A text that is not a root digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a disk digest: expected xxh3-tree:<size>:<64 hexadecimal digits> or blake3-tree:…")]
pub struct ParseDigestError;

/// Hashes blocks of one disk and knows the digest of zeroes beforehand.
#[derive(Debug, Clone)]
pub(super) struct BlockHasher {
    kind: DigestKind,
    size: u64,
    zero: BlockDigest,
    last_zero: BlockDigest,
    hashes: Hashes,
}

/// Whether blocks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hashes {
    /// Each.
    #[default]
    All,
    /// None: to measure what hashing costs. A block then has a digest that no content has, so that nothing is ever equal to it.
    None,
}

impl BlockHasher {
    pub(super) fn with(self, hashes: Hashes) -> Self {
        Self { hashes, ..self }
    }

    pub(super) fn new(kind: DigestKind, size: u64) -> Self {
        let zero = |length: u64| {
            hash_block(
                kind,
                &vec![0; usize::try_from(length).expect("a block is at most 1 MiB")],
            )
        };
        let last = size % BLOCK_SIZE;
        let full = zero(BLOCK_SIZE);
        Self {
            kind,
            size,
            zero: full,
            last_zero: if last == 0 { full } else { zero(last) },
            hashes: Hashes::All,
        }
    }

    pub(super) fn block(&self, bytes: &[u8]) -> BlockDigest {
        match self.hashes {
            Hashes::All => hash_block(self.kind, bytes),
            Hashes::None => BlockDigest([0xff; 32]),
        }
    }

    /// The digest of a block of zeroes in this place.
    pub(super) fn zero(&self, index: u64) -> BlockDigest {
        if index == self.size / BLOCK_SIZE {
            self.last_zero
        } else {
            self.zero
        }
    }

    /// The digest of the disk; blocks that are not in `parts` are zeroes.
    pub(super) fn finish(&self, parts: impl IntoIterator<Item = (u64, BlockDigest)>) -> DiskDigest {
        let count = self.size.div_ceil(BLOCK_SIZE);
        let mut blocks =
            vec![self.zero; usize::try_from(count).expect("a disk's blocks fit the address space")];
        if let Some(last) = blocks.last_mut() {
            *last = self.last_zero;
        }
        self.replace(blocks, parts)
    }

    /// The digest of the disk; blocks that are not in `parts` are those of `base`, which has the same size and kind.
    pub(super) fn update(
        &self,
        base: &DiskDigest,
        parts: impl IntoIterator<Item = (u64, BlockDigest)>,
    ) -> DiskDigest {
        self.replace(base.blocks.to_vec(), parts)
    }

    fn replace(
        &self,
        mut blocks: Vec<BlockDigest>,
        parts: impl IntoIterator<Item = (u64, BlockDigest)>,
    ) -> DiskDigest {
        for (index, digest) in parts {
            let index = usize::try_from(index).expect("an index of this disk fits");
            blocks[index] = digest;
        }
        DiskDigest::from_blocks(self.kind, self.size, blocks)
    }
}

fn hash_block(kind: DigestKind, bytes: &[u8]) -> BlockDigest {
    match kind {
        DigestKind::Blake3 => BlockDigest(*blake3::hash(bytes).as_bytes()),
        DigestKind::Xxh3 => {
            let mut digest = [0; 32];
            digest[..16].copy_from_slice(&XxHash3_128::oneshot(bytes).to_be_bytes());
            BlockDigest(digest)
        }
    }
}

/// How many bytes of a block's digest say something.
fn width(kind: DigestKind) -> usize {
    match kind {
        DigestKind::Blake3 => 32,
        DigestKind::Xxh3 => 16,
    }
}

impl DiskDigest {
    /// Puts the root over block digests. There must be one for each block of `size`.
    fn from_blocks(kind: DigestKind, size: u64, blocks: Vec<BlockDigest>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&[match kind {
            DigestKind::Blake3 => 1,
            DigestKind::Xxh3 => 2,
        }]);
        hasher
            .update(&size.to_le_bytes())
            .update(&BLOCK_SIZE.to_le_bytes());
        for (index, block) in (0u64..).zip(&blocks) {
            hasher.update(&index.to_le_bytes()).update(&block.0);
        }
        let root = RootDigest {
            kind,
            size,
            root: *hasher.finalize().as_bytes(),
        };
        Self {
            root,
            blocks: blocks.into(),
        }
    }

    /// The digests of the blocks, to be kept beside the root.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let width = width(self.root.kind);
        self.blocks
            .iter()
            .flat_map(|block| block.0[..width].iter().copied())
            .collect()
    }

    /// What [`to_bytes`](Self::to_bytes) kept; `None` where it is not what `root` was put over.
    #[must_use]
    pub fn restore(root: &RootDigest, bytes: &[u8]) -> Option<Self> {
        let width = width(root.kind);
        let pieces = bytes.chunks_exact(width);
        let is_whole = pieces.remainder().is_empty() && pieces.len() as u64 == root.size.div_ceil(BLOCK_SIZE);
        if !is_whole {
            return None;
        }
        let block = |piece: &[u8]| {
            let mut digest = [0; 32];
            digest[..width].copy_from_slice(piece);
            BlockDigest(digest)
        };
        let restored = Self::from_blocks(root.kind, root.size, pieces.map(block).collect());
        (restored.root == *root).then_some(restored)
    }

    /// What identifies the content.
    pub fn root(&self) -> &RootDigest {
        &self.root
    }

    /// The digest of one block.
    pub(super) fn block(&self, index: u64) -> Option<&BlockDigest> {
        self.blocks.get(usize::try_from(index).ok()?)
    }

    /// The digest of each block, in order.
    pub fn blocks(&self) -> &[BlockDigest] {
        &self.blocks
    }
}

/// The root over these block digests, for tests that need a digest without a disk.
#[cfg(test)]
pub(crate) fn root_of(kind: DigestKind, size: u64, bytes: &[u8]) -> [u8; 32] {
    let block = |piece: &[u8]| {
        let mut digest = [0; 32];
        digest[..piece.len()].copy_from_slice(piece);
        BlockDigest(digest)
    };
    let blocks = bytes.chunks(width(kind)).map(block).collect();
    DiskDigest::from_blocks(kind, size, blocks).root.root
}

impl fmt::Display for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-tree:{}:{}",
            self.kind,
            self.size,
            blake3::Hash::from_bytes(self.root).to_hex()
        )
    }
}

impl FromStr for RootDigest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let mut parts = text.splitn(3, ':');
        let kind = parts.next().and_then(|name| name.strip_suffix("-tree"));
        let kind = kind.and_then(|kind| kind.parse().ok()).ok_or(ParseDigestError)?;
        let size = parts
            .next()
            .and_then(|size| size.parse().ok())
            .ok_or(ParseDigestError)?;
        let root = blake3::Hash::from_hex(parts.next().unwrap_or("")).map_err(|_| ParseDigestError)?;
        Ok(Self {
            kind,
            size,
            root: *root.as_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition once more, written as plainly as possible.
    fn naive(kind: DigestKind, disk: &[u8]) -> [u8; 32] {
        let mut message = vec![if kind == DigestKind::Blake3 { 1u8 } else { 2 }];
        message.extend((disk.len() as u64).to_le_bytes());
        message.extend((1024u64 * 1024).to_le_bytes());
        for (index, block) in disk.chunks(1024 * 1024).enumerate() {
            message.extend((index as u64).to_le_bytes());
            match kind {
                DigestKind::Blake3 => message.extend(blake3::hash(block).as_bytes()),
                DigestKind::Xxh3 => {
                    message.extend(xxhash_rust::xxh3::xxh3_128(block).to_be_bytes());
                    message.extend([0; 16]);
                }
            }
        }
        blake3::derive_key("volumed 2026 block-tree disk digest v1", &message)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_the_naive_definition(
            blocks in prop::collection::vec(any::<Option<u8>>(), 0..4),
            last in prop_oneof![Just(0usize), Just(1), Just(4095), 1usize..1_048_576],
            last_byte in 0u8..3,
            xxh3: bool,
            backwards: bool,
        ) {
            let kind = if xxh3 { DigestKind::Xxh3 } else { DigestKind::Blake3 };
            let mut disk: Vec<u8> = blocks.iter().flat_map(|fill| vec![fill.unwrap_or(0); 1 << 20]).collect();
            disk.extend(vec![last_byte; last]);
            let hasher = BlockHasher::new(kind, disk.len() as u64);
            let mut parts: Vec<_> = (0u64..).zip(disk.chunks(1 << 20))
                .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
                .map(|(index, block)| (index, hasher.block(block)))
                .collect();
            if backwards { parts.reverse(); }
            let digest = hasher.finish(parts);
            prop_assert_eq!(digest.root().root, naive(kind, &disk));
            prop_assert_eq!(digest.root().to_string().parse::<RootDigest>(), Ok(*digest.root()));
            let mut kept = digest.to_bytes();
            let root = *digest.root();
            prop_assert_eq!(DiskDigest::restore(&root, &kept), Some(digest));
            if let Some(byte) = kept.last_mut() {
                *byte ^= 1;
                prop_assert_eq!(DiskDigest::restore(&root, &kept), None);
                kept.pop();
                prop_assert_eq!(DiskDigest::restore(&root, &kept), None);
            }
        }
    }

    #[test]
    fn size_and_place_matter() {
        let root = |size, parts: Vec<(u64, BlockDigest)>| {
            BlockHasher::new(DigestKind::Blake3, size)
                .finish(parts)
                .root()
                .root
        };
        let one = BlockDigest([1; 32]);
        let roots = [
            root(0, vec![]),
            root(BLOCK_SIZE, vec![]),
            root(BLOCK_SIZE + 1, vec![]),
            root(2 * BLOCK_SIZE, vec![]),
            root(2 * BLOCK_SIZE, vec![(0, one)]),
            root(2 * BLOCK_SIZE, vec![(1, one)]),
        ];
        for (at, first) in roots.iter().enumerate() {
            assert!(!roots[at + 1..].contains(first));
        }
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        for text in [
            "",
            "blake3-tree",
            "blake3-tree:x:00",
            "md5:1:00",
            "blake3-tree:1:zz",
        ] {
            assert_eq!(text.parse::<RootDigest>(), Err(ParseDigestError));
        }
    }
}
