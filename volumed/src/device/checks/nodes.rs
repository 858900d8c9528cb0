//! Whether what the kernel lists can be opened where it should be, and whether plug-ins are numbered.

use std::io;

use rustix::fs::{FileType, stat};

use crate::device::disk::{Disk, Inventory};
use crate::device::identity::{Bus, number};
use crate::model::Check;

/// Whether the kernel numbers each plug-in of a disk, so that a swapped disk is noticed although everything else is equal.
pub(super) fn diskseq(inventory: &Inventory) -> Check {
    const NAME: &str = "diskseq";
    let without: Vec<_> = inventory
        .disks
        .iter()
        .filter(|disk| disk.diskseq.is_none())
        .collect();
    match without.first() {
        None => Check::passed(NAME, "the kernel numbers each plug-in of a disk"),
        Some(disk) => Check::warning(
            NAME,
            format!("the kernel gives {} no number", disk.name),
            "use Linux 5.15 or newer: only then is a disk noticed that was swapped for an equal one",
        ),
    }
}

/// Whether each disk's node is there and is that disk: not so in a private `/dev`, or where a name was taken by hand.
pub(super) fn nodes(inventory: &Inventory) -> Check {
    const NAME: &str = "device nodes";
    let wrong = |wanted: fn(&Disk) -> bool| {
        let disks = inventory.disks.iter().filter(|disk| wanted(disk));
        let wrong = disks.filter_map(|disk| Some(format!("{} {}", disk.node.display(), wrong(disk)?)));
        wrong.collect::<Vec<_>>().join("; ")
    };
    let may_be_volume = |disk: &Disk| Bus::of(&disk.name) != Bus::Other;
    let advice =
        "give the daemon the machine's own /dev: no PrivateDevices=, and in a container the host's devices";
    match (
        wrong(may_be_volume),
        wrong(|disk| Bus::of(&disk.name) == Bus::Other),
    ) {
        (volumes, _) if !volumes.is_empty() => Check::failed(NAME, volumes, advice),
        (_, others) if !others.is_empty() => Check::warning(NAME, others, advice),
        _ => Check::passed(
            NAME,
            format!("those of all {} disks are there", inventory.disks.len()),
        ),
    }
}

/// What is wrong with a disk's node.
fn wrong(disk: &Disk) -> Option<String> {
    let found = match stat(&disk.node) {
        Ok(found) => found,
        Err(error) => return Some(format!("cannot be seen: {}", io::Error::from(error))),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
        return Some("is no block device".to_owned());
    }
    let found = number(found.st_rdev);
    (found != disk.devnum).then(|| format!("is number {found}, not {}", disk.devnum))
}
