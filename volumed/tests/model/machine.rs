//! What the daemon is given of the simulated kernel: the machine, its held disks, and the watcher's scans.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use volumed::device::{
    Disk, Exclusivity, Expectation, HeldDisk, Inventory, Machine, Observed, Opener, PinError, ProbeError,
    Scanner, Usage, UsageError, WatcherStats,
};
use volumed::model::{Bytes, DevNum, Identity};

use crate::kernel::{node_of, number_of};
use crate::world::World;

/// The simulated machine.
pub(crate) struct SimMachine(pub(crate) World);

impl Machine for SimMachine {
    fn usage(&self, _inventory: &Inventory) -> Result<Usage, UsageError> {
        Ok(Usage::default())
    }

    fn openers(&self, disk: &Disk) -> io::Result<Vec<Opener>> {
        let world = self.0.now();
        let found = disk.diskseq.and_then(|seq| world.kernel.disk(seq));
        let opened = found.is_some_and(|disk| disk.plugged && disk.opened.is_some());
        let opener = || Opener {
            pid: 4711,
            comm: "qemu-img".into(),
        };
        Ok(opened.then(opener).into_iter().collect())
    }

    fn exclusive_probe(&self, disk: &Disk) -> Result<Exclusivity, ProbeError> {
        let node = disk.node.clone();
        let world = self.0.now();
        match world.kernel.at_node(&node.display().to_string()) {
            Some(_) => Ok(Exclusivity::Free),
            None => Err(ProbeError::Io {
                node,
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    fn open(&self, disk: &Disk, expected: &Expectation) -> Result<Arc<dyn HeldDisk>, PinError> {
        let node = disk.node.clone();
        let mut world = self.0.now();
        let boot = world.kernel.boot.clone();
        let Some(found) = world.kernel.at_node(&node.display().to_string()) else {
            return Err(PinError::Gone { node });
        };
        if Some(found.seq) != disk.diskseq {
            let found = Some(found.seq);
            return Err(PinError::WrongIncarnation {
                node,
                expected: disk.diskseq,
                found,
            });
        }
        let (seq, slot) = (found.seq, found.slot);
        if let Some(disk) = world.kernel.disk_mut(seq) {
            disk.holds += 1;
        }
        drop(world);
        let held = SimHeld {
            world: self.0.clone(),
            boot,
            seq,
            slot,
            node,
        };
        held.verify(expected)?;
        Ok(Arc::new(held))
    }

    fn written_sectors(&self, devnum: DevNum) -> Option<u64> {
        let world = self.0.now();
        let mut disks = world.kernel.plugged();
        Some(disks.find(|disk| number_of(disk.slot) == devnum)?.written)
    }

    fn rescan_bus(&self) -> io::Result<()> {
        self.0.now().look();
        Ok(())
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}

/// A disk that the daemon holds open.
struct SimHeld {
    world: World,
    boot: String,
    seq: u64,
    slot: usize,
    node: PathBuf,
}

impl HeldDisk for SimHeld {
    fn verify(&self, expected: &Expectation) -> Result<Observed, PinError> {
        let world = self.world.now();
        let now = world.elapsed();
        let (node, kernel) = (self.node.clone(), &world.kernel);
        let Some(disk) = kernel.disk(self.seq).filter(|disk| disk.plugged) else {
            return Err(PinError::Gone { node });
        };
        assert_eq!(disk.slot, self.slot, "a held disk keeps its name");
        let is_settled = kernel.is_settled(self.seq, now);
        let found = disk.serial.clone().filter(|_| is_settled).map(Identity::Serial);
        if found.as_ref() != Some(&expected.identity) {
            let expected = expected.identity.clone();
            return Err(PinError::WrongIdentity {
                node,
                expected,
                found,
            });
        }
        if disk.size != expected.size {
            let (expected, found) = (expected.size, disk.size);
            return Err(PinError::WrongSize {
                node,
                expected,
                found,
            });
        }
        Ok(Observed {
            path: node,
            devnum: number_of(self.slot),
            diskseq: Some(self.seq),
            size: Bytes(disk.size.0),
            identity: expected.identity.clone(),
        })
    }

    fn flush(&self) -> Result<(), PinError> {
        let world = self.world.now();
        match world.kernel.disk(self.seq).filter(|disk| disk.plugged) {
            Some(_) => Ok(()),
            None => Err(PinError::Io {
                action: "flushing",
                node: self.node.clone(),
                source: io::Error::other("the disk is gone"),
            }),
        }
    }

    fn devnum(&self) -> DevNum {
        number_of(self.slot)
    }

    fn diskseq(&self) -> Option<u64> {
        Some(self.seq)
    }

    fn node(&self) -> &Path {
        &self.node
    }
}

impl Drop for SimHeld {
    fn drop(&mut self) {
        let mut world = self.world.untimed();
        if world.kernel.boot == self.boot
            && let Some(disk) = world.kernel.disk_mut(self.seq)
        {
            assert_eq!(node_of(disk.slot), self.node.display().to_string());
            disk.holds -= 1;
            world.kernel.sweep();
        }
    }
}

/// Scans at the daemon's wish.
pub(crate) struct SimScanner {
    pub(crate) world: World,
    pub(crate) stats: WatcherStats,
}

impl Scanner for SimScanner {
    fn scan_anew(&self) -> u64 {
        self.world.now().look_anew()
    }

    fn expect_more(&self) {}

    fn expect_less(&self) {}

    fn stats(&self) -> &WatcherStats {
        &self.stats
    }
}
