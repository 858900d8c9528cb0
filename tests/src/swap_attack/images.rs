//! The images after the attack, searched from outside for what does not belong there.

use std::fs::File;
use std::path::Path;

use volume_client::types::VolumeId;

use crate::count_markers;

/// The blocks that clients may have written: the marker and those behind it.
const BLOCKS: u64 = 256;

/// What is in an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Searched {
    /// Blocks that say that they are the volume's.
    pub(super) own: u64,
    /// Blocks that say that they are somebody else's.
    pub(super) others: u64,
}

pub(super) fn search(image: &Path, id: VolumeId) -> Searched {
    let file = File::open(image).expect("the image of a volume is there");
    let (own, others) = count_markers(&file, &id.to_string(), BLOCKS).expect("an image can be read");
    Searched { own, others }
}
