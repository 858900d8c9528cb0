//! Chance that can be repeated: the seed is printed, and taken from `VOLUMED_TEST_SEED` where that is set.

use std::io::Read;

/// A stream of numbers that follows from its seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Prints its seed: another one at every run, unless `VOLUMED_TEST_SEED` names it.
    #[must_use]
    pub fn seeded(what: &str) -> Self {
        let given = std::env::var("VOLUMED_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("VOLUMED_TEST_SEED is a number"),
            None => {
                let mut bytes = [0; 8];
                let mut source = std::fs::File::open("/dev/urandom").unwrap();
                source.read_exact(&mut bytes).unwrap();
                u64::from_ne_bytes(bytes)
            }
        };
        eprintln!("{what}: VOLUMED_TEST_SEED={seed}");
        Self(seed)
    }

    /// The stream of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, which does not depend on how far this one is used later.
    #[must_use]
    pub fn branch(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not nought.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
