//! What an attack came to: swaps, what each kind of client met, and what lies in the images.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::images::Searched;

/// What a kind of client met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Its own volume's bytes.
    pub right: u64,
    /// Another volume's bytes, or a stranger's.
    pub wrong: u64,
    /// Nothing was opened, or it was refused before anything was read or written.
    pub refused: u64,
    /// It was opened, and the disk was pulled out before it was read or written.
    pub lost: u64,
}

/// The figures of an attack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Swaps on machines that lived to the end.
    pub swaps: u64,
    /// Machines that lived to the end.
    pub machines: u64,
    /// Swaps by what was done to udev meanwhile.
    pub by_disturbance: BTreeMap<String, u64>,
    /// What each kind of client met.
    pub met: BTreeMap<String, Met>,
    /// Blocks in the images that their own volume's clients wrote.
    pub own_blocks: u64,
    /// Blocks in the images that anybody else wrote: writes on a wrong disk.
    pub wrong_blocks: u64,
    /// Rules of dealing with the cloud that the daemon broke.
    pub violations: u64,
    /// Machines whose emulator died.
    pub inconclusive_machines: u64,
    /// Swaps on them, which prove nothing.
    pub inconclusive_swaps: u64,
}

/// The clients that go by the daemon's proof; everybody else is there to be compared with.
const PROVEN: [&str; 2] = ["reader", "writer"];

impl Figures {
    /// Adds what another machine came to.
    pub(super) fn add(&mut self, other: &Figures) {
        self.swaps += other.swaps;
        self.machines += other.machines;
        self.own_blocks += other.own_blocks;
        self.wrong_blocks += other.wrong_blocks;
        self.violations += other.violations;
        for (kind, count) in &other.by_disturbance {
            *self.by_disturbance.entry(kind.clone()).or_default() += count;
        }
        for (who, met) in &other.met {
            let sum = self.met.entry(who.clone()).or_default();
            sum.right += met.right;
            sum.wrong += met.wrong;
            sum.refused += met.refused;
            sum.lost += met.lost;
        }
    }

    pub(super) fn count_image(&mut self, searched: &Searched) {
        self.own_blocks += searched.own;
        self.wrong_blocks += searched.others;
    }

    /// What clients met whose name begins so.
    #[must_use]
    pub fn met_by(&self, prefix: &str) -> Met {
        let mut sum = Met::default();
        for met in self
            .met
            .iter()
            .filter(|(who, _)| who.starts_with(prefix))
            .map(|(_, met)| met)
        {
            sum.right += met.right;
            sum.wrong += met.wrong;
            sum.refused += met.refused;
            sum.lost += met.lost;
        }
        sum
    }

    /// Reads and writes on a wrong disk by clients that go by the daemon's proof.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        let read: u64 = PROVEN.iter().map(|who| self.met_by(who).wrong).sum();
        read + self.wrong_blocks
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |met: Met| {
            format!(
                "{} right, {} wrong, {} refused, {} lost",
                met.right, met.wrong, met.refused, met.lost
            )
        };
        write!(
            f,
            "{} swaps on {} machines ({} more on {} that died): through the daemon: reads {}; writes {}, {} blocks in \
             their own image, {} in a wrong one; its path without a lease {}; by-id path {}; sysfs name {}",
            self.swaps,
            self.machines,
            self.inconclusive_swaps,
            self.inconclusive_machines,
            show(self.met_by("reader")),
            show(self.met_by("writer")),
            self.own_blocks,
            self.wrong_blocks,
            show(self.met_by("daemon_path")),
            show(self.met_by("by_id")),
            show(self.met_by("sysfs_name")),
        )
    }
}
