//! What the suite needs of a source besides its trait: a hand on its machine, and the truth of what it holds.

use async_trait::async_trait;
use migrate_engine::source::{Cycle, FrozenDisk, Source};

/// Whose cycles the suite's are.
pub(crate) const OWNER: &str = "migrate-engine of appliance 1";

/// A machine by its three names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) name: String,
}

/// A place with a machine that nobody but the test touches. Its first disk is the one that is written to.
#[async_trait]
pub(crate) trait Fixture: Send + Sync {
    /// A source as a process of its own would have it.
    async fn source(&self) -> Box<dyn Source>;

    /// The machine.
    fn names(&self) -> &Names;

    /// A name that several machines have.
    fn twins(&self) -> Option<&'static str>;

    /// Machines that are there and cannot be copied.
    fn refused(&self) -> &'static [&'static str];

    /// Writes to the first disk, at places that follow from `seed`.
    fn write(&self, seed: u64);

    /// Makes the first disk larger. Gives its size then.
    fn grow(&self) -> u64;

    /// What the disk holds as it was frozen for `cycle`; where nothing can freeze it, what it holds now.
    fn truth(&self, cycle: &Cycle, disk: &FrozenDisk) -> Vec<u8>;

    /// Whether the guest may write on, unnoticed, while a reader reads.
    fn freezes(&self) -> bool;

    /// Whether it is told where a disk changed, not only that it did.
    fn tells_where(&self) -> bool;

    /// Somebody ends the frozen state of `cycle` behind our back.
    async fn disturb(&self, cycle: &Cycle);

    /// What is left when a process is killed in the middle of `cycle`.
    async fn lose(&self, cycle: &Cycle);

    /// What is there of anybody's cycles: snapshots, processes, files.
    fn left(&self) -> Vec<String>;

    /// Puts the n-th trouble in the way of the next freeze, one after the other; `false` where there are no more.
    fn hinder(&self, n: usize) -> bool;

    /// Takes the trouble away.
    fn unhinder(&self);

    /// What must be shown nowhere.
    fn secrets(&self) -> &'static [&'static str];

    /// What is said when we are refused, or read in vain.
    async fn refusals(&self) -> Vec<String>;
}

/// A cycle of ours.
pub(crate) fn cycle(name: &str) -> Cycle {
    Cycle {
        name: name.to_owned(),
        owner: OWNER.to_owned(),
    }
}

/// A stream of numbers that follows from its seed (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

/// What a guest writes to a disk of `size` bytes: where, and what.
pub(crate) fn scribbles(seed: u64, size: usize) -> Vec<(usize, Vec<u8>)> {
    const LENGTH: usize = 70_000;
    let mut random = Random::new(seed);
    (0..5)
        .map(|_| {
            let offset = random.below((size - LENGTH) / 512) * 512;
            (offset, random.bytes(LENGTH))
        })
        .collect()
}
