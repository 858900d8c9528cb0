//! A VM: its slots for disks, its queue of one, and what libvirt has plugged in, which the database need not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{Disk, Hypervisor};

/// The device id that belongs to the CD-ROM.
const CDROM: u32 = 3;

/// Whether a VM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are CloudStack's")]
pub(super) enum VmState {
    Running,
    Stopped,
}

/// A VM, its host and its hypervisor.
#[derive(Clone)]
pub(super) struct Vm {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) account: Uuid,
    pub(super) state: VmState,
    /// The hypervisor's side of it.
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    /// One attach or detach at a time for all VMs of the host.
    pub(super) host: Arc<Mutex<()>>,
    /// One job at a time for this VM; a new one after each restart of the management server.
    pub(super) queue: Arc<Mutex<()>>,
    /// The targets that libvirt has taken, by the device id that they were plugged with.
    pub(super) targets: BTreeMap<u32, Disk>,
    /// Disks whose unplug was sent and has not been seen to end, and since when.
    pub(super) leaving: Vec<(Disk, Instant)>,
    /// VM snapshots: with any of them no disk comes or goes.
    pub(super) snapshots: BTreeSet<Uuid>,
}

impl Vm {
    pub(super) fn new(name: &str, account: Uuid, hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            account,
            state: VmState::Running,
            hypervisor,
            host: Arc::default(),
            queue: Arc::default(),
            targets: BTreeMap::new(),
            leaving: Vec::new(),
            snapshots: BTreeSet::new(),
        }
    }

    /// Forgets targets and unplugs that are over, by what is plugged in now.
    pub(super) fn see(&mut self, plugged: &[Disk]) {
        self.targets.retain(|_, disk| plugged.contains(disk));
        self.leaving.retain(|(disk, _)| plugged.contains(disk));
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The device ids of data disks where at most `most` of them fit: 1, 2, 4 and so on.
pub(super) fn data_device_ids(most: u32) -> impl Iterator<Item = u32> {
    (1..=most + 1).filter(|id| *id != CDROM)
}

/// The name of the libvirt target with this device id. A guest need not name its disk so.
pub(super) fn target(device_id: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = device_id;
    loop {
        letters.push(char::from_digit(rest % 26 + 10, 36).expect("26 letters follow 10 digits"));
        if rest < 26 {
            break;
        }
        rest = rest / 26 - 1;
    }
    letters
        .into_iter()
        .rev()
        .fold("vd".to_owned(), |name, letter| name + &letter.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cdrom_keeps_its_place() {
        assert_eq!(data_device_ids(5).collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
        assert_eq!(data_device_ids(2).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn targets_go_on_after_z() {
        let names = [0, 1, 25, 26, 27, 52].map(target);
        assert_eq!(names, ["vda", "vdb", "vdz", "vdaa", "vdab", "vdba"]);
    }
}
