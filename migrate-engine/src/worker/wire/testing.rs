//! A digest for tests.

use crate::model::DigestKind;
use crate::transfer::{BLOCK_SIZE, DiskDigest, RootDigest, root_of};

/// The digest of a disk of so many whole blocks.
pub(in super::super) fn digest(size: u64) -> DiskDigest {
    let blocks = vec![7; usize::try_from(size / BLOCK_SIZE).unwrap() * 16];
    let root = RootDigest {
        kind: DigestKind::Xxh3,
        size,
        root: root_of(DigestKind::Xxh3, size, &blocks),
    };
    DiskDigest::restore(&root, &blocks).unwrap()
}
