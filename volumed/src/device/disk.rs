//! The disks that one scan has found.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::model::{Bytes, DevNum, Identity, Incarnation};

/// A whole disk, as sysfs showed it in one consistent look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name, such as `vdb` or `loop3`. It may name another disk a moment later.
    pub name: String,
    /// Node as the kernel names it in `DEVNAME`; true while the disk is pinned.
    pub node: PathBuf,
    /// Device number.
    pub devnum: DevNum,
    /// The kernel's running number of this plug-in; `None` before Linux 5.15.
    pub diskseq: Option<u64>,
    /// Size in bytes.
    pub size: Bytes,
    /// Whether the kernel refuses writes.
    pub read_only: bool,
    /// What makes it that disk; `None` where the kernel shows nothing that could.
    pub identity: Option<Identity>,
    /// Kernel names of the devices stacked on it or on one of its partitions (device-mapper, md).
    pub holders: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Kernel name, such as `vdb1`.
    pub name: String,
    /// Device number.
    pub devnum: DevNum,
}

impl Disk {
    /// Whether `devnum` is this disk or one of its partitions.
    #[must_use]
    pub fn covers(&self, devnum: DevNum) -> bool {
        self.devnum == devnum || self.partitions.iter().any(|part| part.devnum == devnum)
    }
}

/// All whole disks of this machine at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// `/proc/sys/kernel/random/boot_id`; together with `diskseq` it names one incarnation for ever.
    pub boot_id: String,
    /// Number of the scan that made this inventory; grows by at least one with each that is published.
    pub generation: u64,
    /// The disks, by kernel name.
    pub disks: Vec<Disk>,
    /// Kernel names of disks in transition (attributes missing or changing while being read). Where the rest could
    /// be read they are in `disks` too, without an identity. Look again before concluding anything about them.
    pub unsettled: Vec<String>,
    /// The `diskseq` of every disk here that was ever seen beside another one with its identity: which of them is the real
    /// one is not known, also after the other has gone. Only a watcher, which remembers, fills it in.
    pub disputed: BTreeSet<u64>,
}

impl Inventory {
    /// The disk with this kernel name.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }

    /// The disk that has this number, or a partition that has it.
    #[must_use]
    pub fn covering(&self, devnum: DevNum) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.covers(devnum))
    }

    /// The disks that are what the identity says. More than one: none of them can be told from the others.
    pub fn carriers<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Disk> {
        self.disks.iter().filter(move |disk| match identity {
            // Only a disk that carries nothing that could contradict it.
            Identity::Appeared(plug_in) => {
                disk.identity.is_none() && self.incarnation(disk).as_ref() == Some(plug_in)
            }
            _ => disk.identity.as_ref() == Some(identity),
        })
    }

    /// This incarnation of `disk`; `None` where the kernel has no `diskseq`.
    #[must_use]
    pub fn incarnation(&self, disk: &Disk) -> Option<Incarnation> {
        let diskseq = disk.diskseq?;
        Some(Incarnation {
            boot_id: self.boot_id.clone(),
            diskseq,
        })
    }
}
