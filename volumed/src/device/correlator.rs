//! Which disk, if any, is the expected one: one pure function over an inventory.
//!
//! | disks with the expected identity | and | answer |
//! |---|---|---|
//! | – | the expectation proves nothing (blank serial, inode 0) | `Foreign(NoIdentity)` |
//! | none | | `Missing` |
//! | two or more | whatever else | `Ambiguous` |
//! | one | it was seen beside another one with that identity before | `Disputed` |
//! | one | its size differs | `WrongSize` |
//! | one | another volume has a claim on it | `Foreign(Claimed)` |
//! | one | in use by anything else | `Busy` |
//! | one | nothing of the above | `Matched` |
//!
//! Anything but `Matched` is never handed out. A name, an order, a link or a size never makes a match; the size can
//! only veto one. Whether the disk takes writes is the pin's question.

use super::disk::{Disk, Inventory};
use super::usage::{Usage, Use};
pub use crate::model::DeviceExpectation as Expectation;

/// What the inventory says about an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correlation {
    /// Exactly this disk, free to be handed out.
    Matched(Disk),
    /// No disk has the identity. While [`Inventory::unsettled`] is not empty it may be about to appear.
    Missing,
    /// Several disks have the identity: none is handed out.
    Ambiguous(Vec<Disk>),
    /// The only disk with the identity was seen beside another one that had it too: it may be the one that does not belong
    /// here.
    Disputed(Disk),
    /// The disk with the identity has another size.
    WrongSize(Disk),
    /// The disk is in use, in these ways.
    Busy(Disk, Vec<Use>),
    /// No disk can be proven to be this volume's.
    Foreign(ForeignReason),
}

/// Why a disk is not ours to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignReason {
    /// The expectation has no identity that proves anything, so any match would be a guess.
    NoIdentity,
    /// The only disk with the identity belongs to another volume, by [`Use::Claimed`].
    Claimed {
        /// The disk.
        disk: Disk,
        /// Who has the claim.
        by: String,
    },
}

/// Looks for the expected disk. Pure: the same arguments give the same answer.
#[must_use]
pub fn correlate(inventory: &Inventory, usage: &Usage, expected: &Expectation) -> Correlation {
    if !expected.is_usable() {
        return Correlation::Foreign(ForeignReason::NoIdentity);
    }
    let candidates: Vec<&Disk> = inventory.carriers(&expected.identity).collect();
    let disk = match candidates.as_slice() {
        [] => return Correlation::Missing,
        [only] => (*only).clone(),
        several => return Correlation::Ambiguous(several.iter().map(|disk| (*disk).clone()).collect()),
    };
    if disk
        .diskseq
        .is_some_and(|diskseq| inventory.disputed.contains(&diskseq))
    {
        return Correlation::Disputed(disk);
    }
    if disk.size != expected.size {
        return Correlation::WrongSize(disk);
    }
    let uses = usage.of(disk.devnum);
    if let Some(by) = uses.iter().find_map(Use::claimant) {
        return Correlation::Foreign(ForeignReason::Claimed {
            by: by.to_owned(),
            disk,
        });
    }
    if uses.is_empty() {
        Correlation::Matched(disk)
    } else {
        Correlation::Busy(disk, uses.to_vec())
    }
}

#[cfg(test)]
#[path = "correlator_tests.rs"]
mod tests;
