//! When the kernel announced each disk: the moment from which our share of an attach is counted.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

/// So many announcements are remembered; older ones are of disks that were bound or ignored long ago.
const MOST: usize = 1024;

/// The first kernel uevent that named each `diskseq` of this boot, by the time at which it was taken in.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<BTreeMap<u64, Instant>>);

impl Announced {
    /// A uevent names this disk. Only the first one counts: a loop device is announced again with every change of it.
    pub(super) fn came(&self, diskseq: u64, at: Instant) {
        let mut seen = self.0.lock();
        seen.entry(diskseq).or_insert(at);
        while seen.len() > MOST {
            seen.pop_first();
        }
    }

    /// When the disk was announced; `None` where no uevent named it, as one that was there before us.
    pub(super) fn at(&self, diskseq: u64) -> Option<Instant> {
        self.0.lock().get(&diskseq).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_announcement_counts_and_the_oldest_are_forgotten() {
        let (announced, first) = (Announced::default(), Instant::now());
        announced.came(7, first);
        announced.came(7, first + Duration::from_secs(1));
        assert_eq!(announced.at(7), Some(first));
        assert_eq!(announced.at(8), None);
        for diskseq in 8..8 + MOST as u64 {
            announced.came(diskseq, first);
        }
        assert_eq!(announced.at(7), None);
        assert_eq!(announced.at(8), Some(first));
    }
}
