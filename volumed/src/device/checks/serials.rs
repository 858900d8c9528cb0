//! By what the disks can be told apart: their buses, their serials, and twins among those.

use std::collections::BTreeMap;

use crate::device::disk::{Disk, Inventory};
use crate::device::identity::Bus;
use crate::model::{Check, Identity};

/// Which buses there are. Only virtio, SCSI and loop disks can be told to be a volume.
pub(super) fn buses(inventory: &Inventory) -> Check {
    let mut seen = Vec::new();
    for (bus, word) in [
        (Bus::Virtio, "virtio (vd)"),
        (Bus::Scsi, "SCSI (sd)"),
        (Bus::Loop, "loop"),
    ] {
        let count = on(inventory, bus).count();
        if count > 0 {
            seen.push(format!("{word}: {count}"));
        }
    }
    let others: Vec<_> = on(inventory, Bus::Other).map(|disk| disk.name.as_str()).collect();
    if !others.is_empty() {
        seen.push(format!("never taken for a volume: {}", others.join(", ")));
    }
    let seen = match seen.is_empty() {
        true => "there is no disk".to_owned(),
        false => seen.join("; "),
    };
    Check::passed("disk buses", seen)
}

/// Whether every disk that may be a volume has a serial. The daemon refuses one that has none.
pub(super) fn present(inventory: &Inventory) -> Check {
    const NAME: &str = "disk serials";
    if !inventory.unsettled.is_empty() {
        let seen = format!(
            "coming, going or not answering: {}",
            inventory.unsettled.join(", ")
        );
        return Check::warning(
            NAME,
            seen,
            "ask again; if it stays, the kernel's log (`dmesg`) says more",
        );
    }
    let may_be_volumes = || on(inventory, Bus::Virtio).chain(on(inventory, Bus::Scsi));
    let without: Vec<_> = may_be_volumes()
        .filter(|disk| disk.identity.is_none())
        .map(|disk| disk.node.display().to_string())
        .collect();
    if without.is_empty() {
        return Check::passed(NAME, format!("{} disks have one", may_be_volumes().count()));
    }
    Check::warning(
        NAME,
        format!("the kernel shows none of {}", without.join(", ")),
        "no volume is recognised without one: the hypervisor must give it (KVM does, for volumes of CloudStack)",
    )
}

/// Whether no two disks have one identity: neither of them can then be told to be the volume.
pub(super) fn distinct(inventory: &Inventory) -> Check {
    const NAME: &str = "serial twins";
    let mut nodes: BTreeMap<&Identity, Vec<String>> = BTreeMap::new();
    for disk in &inventory.disks {
        if let Some(identity) = &disk.identity {
            nodes
                .entry(identity)
                .or_default()
                .push(disk.node.display().to_string());
        }
    }
    let twins = |of: fn(&Identity) -> bool| {
        let twins = nodes
            .iter()
            .filter(|(identity, nodes)| nodes.len() > 1 && of(identity));
        twins
            .map(|(identity, nodes)| format!("{} are all `{identity}`", nodes.join(" and ")))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let serials = twins(|identity| matches!(identity, Identity::Serial(_)));
    let files = twins(|identity| matches!(identity, Identity::LoopBacking { .. }));
    match (serials.is_empty(), files.is_empty()) {
        (false, _) => Check::failed(
            NAME,
            serials,
            "detach all but the one that belongs here; two paths to one disk (multipath) are not supported",
        ),
        (true, false) => Check::warning(
            NAME,
            files,
            "several loop devices are over one file; if it is a volume's, detach those that volumed did not make",
        ),
        (true, true) => Check::passed(NAME, "no two disks have one identity"),
    }
}

fn on(inventory: &Inventory, bus: Bus) -> impl Iterator<Item = &Disk> {
    inventory
        .disks
        .iter()
        .filter(move |disk| Bus::of(&disk.name) == bus)
}
