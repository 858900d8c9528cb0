//! What is asked of the machine beside its inventory: who uses a disk, and the disk itself, opened and proven.
//!
//! [`KernelMachine`] is the real one. A simulation brings its own, and with it the laws of the pin: while a disk is held,
//! its name and number go to no other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::correlator::Expectation;
use super::disk::{Disk, Inventory};
use super::openers::{self, Exclusivity, Opener, ProbeError};
use super::pin::{self, Observed, Pin, PinError};
use super::root::{self, SysRoot};
use super::usage::{Usage, UsageError};
use crate::model::DevNum;

/// The machine whose disks these are. Answers may take long: see [`answers_at_once`](Self::answers_at_once).
pub trait Machine: Send + Sync + 'static {
    /// Who uses which disk of the inventory, as [`Usage::collect`].
    ///
    /// # Errors
    /// [`UsageError`]
    fn usage(&self, inventory: &Inventory) -> Result<Usage, UsageError>;

    /// Who has the disk open, as [`openers`](super::openers()).
    ///
    /// # Errors
    /// Where the processes cannot be listed.
    fn openers(&self, disk: &Disk) -> io::Result<Vec<Opener>>;

    /// Who has each of the disks open, as [`openers_of`](super::openers_of).
    ///
    /// # Errors
    /// As [`openers`](Self::openers).
    fn openers_of(&self, disks: &[&Disk]) -> io::Result<Vec<Vec<Opener>>> {
        disks.iter().map(|disk| self.openers(disk)).collect()
    }

    /// Whether anybody claims the disk, as [`exclusive_probe`](super::exclusive_probe).
    ///
    /// # Errors
    /// [`ProbeError`]
    fn exclusive_probe(&self, disk: &Disk) -> Result<Exclusivity, ProbeError>;

    /// Opens the disk and proves it, as [`open_verified`](super::open_verified).
    ///
    /// # Errors
    /// [`PinError`]
    fn open(&self, disk: &Disk, expected: &Expectation) -> Result<Arc<dyn HeldDisk>, PinError>;

    /// How many sectors were written to the disk or discarded; `None` where that is not counted.
    fn written_sectors(&self, devnum: DevNum) -> Option<u64>;

    /// Has the bus look for disks that it was not told of.
    ///
    /// # Errors
    /// Where it cannot be asked.
    fn rescan_bus(&self) -> io::Result<()>;

    /// Whether no answer blocks, so that it can be asked for on any thread.
    fn answers_at_once(&self) -> bool {
        false
    }
}

/// A proven disk that is held open. Dropping it lets its name go.
pub trait HeldDisk: Send + Sync {
    /// As [`Pin::verify`].
    ///
    /// # Errors
    /// [`PinError`]; the disk stays held.
    fn verify(&self, expected: &Expectation) -> Result<Observed, PinError>;

    /// As [`Pin::flush`].
    ///
    /// # Errors
    /// [`PinError::Io`]: data may not be on the disk.
    fn flush(&self) -> Result<(), PinError>;

    /// Its number.
    fn devnum(&self) -> DevNum;

    /// Its incarnation.
    fn diskseq(&self) -> Option<u64>;

    /// Its node.
    fn node(&self) -> &Path;
}

/// The machine that this is.
#[derive(Debug, Clone, Default)]
pub struct KernelMachine {
    root: SysRoot,
}

impl Machine for KernelMachine {
    fn usage(&self, inventory: &Inventory) -> Result<Usage, UsageError> {
        Usage::collect(&self.root, inventory)
    }

    fn openers(&self, disk: &Disk) -> io::Result<Vec<Opener>> {
        openers::openers(&self.root, disk)
    }

    fn openers_of(&self, disks: &[&Disk]) -> io::Result<Vec<Vec<Opener>>> {
        openers::openers_of(&self.root, disks)
    }

    fn exclusive_probe(&self, disk: &Disk) -> Result<Exclusivity, ProbeError> {
        openers::exclusive_probe(disk)
    }

    fn open(&self, disk: &Disk, expected: &Expectation) -> Result<Arc<dyn HeldDisk>, PinError> {
        Ok(Arc::new(pin::open_verified(disk, expected)?))
    }

    /// Fields 7 and 14 of the device's `stat` (Documentation/block/stat.rst): sectors written and sectors discarded. `None`
    /// where they cannot be read, or where the kernel was told not to count.
    fn written_sectors(&self, devnum: DevNum) -> Option<u64> {
        let dir = self.root.by_number(devnum);
        if std::fs::read_to_string(dir.join("queue/iostats")).ok()?.trim() != "1" {
            return None;
        }
        let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
        let fields: Vec<u64> = stat
            .split_ascii_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        Some(fields.get(6)? + fields.get(13).copied().unwrap_or(0))
    }

    fn rescan_bus(&self) -> io::Result<()> {
        root::rescan_pci(&self.root)
    }
}

impl HeldDisk for Pin {
    fn verify(&self, expected: &Expectation) -> Result<Observed, PinError> {
        Pin::verify(self, expected)
    }

    fn flush(&self) -> Result<(), PinError> {
        Pin::flush(self)
    }

    fn devnum(&self) -> DevNum {
        Pin::devnum(self)
    }

    fn diskseq(&self) -> Option<u64> {
        Pin::diskseq(self)
    }

    fn node(&self) -> &Path {
        Pin::node(self)
    }
}
