//! What the cloud and the kernel say of one volume, each by itself.

use super::observe::Listed;
use super::plan::{CloudView, KernelView};
use crate::cloud::{ProviderState, ProviderVolume};
use crate::device::{Disk, Inventory};
use crate::model::Identity;
use crate::store::{MappingRecord, VolumeRecord};

/// The disk that the volume is bound to, where the kernel shows it as it was bound, and no other of its identity.
pub(super) fn bound_disk<'a>(
    volume: &'a VolumeRecord,
    mapping: &MappingRecord,
    inventory: &'a Inventory,
) -> Option<&'a Disk> {
    let mut carriers = inventory.carriers(volume.identity.as_ref()?);
    let disk = carriers.next()?;
    (carriers.next().is_none() && is_as_bound(mapping, disk, inventory)).then_some(disk)
}

fn is_as_bound(mapping: &MappingRecord, disk: &Disk, inventory: &Inventory) -> bool {
    let bound = &mapping.observed;
    bound.boot_id == inventory.boot_id
        && bound.diskseq == disk.diskseq
        && bound.devnum == disk.devnum.to_string()
        && bound.device_path == disk.node.display().to_string()
}

/// What the cloud says of it.
pub(super) fn cloud_view(volume: &VolumeRecord, listed: Option<&Listed>, own_vm: Option<&str>) -> CloudView {
    let (Some(listed), Some(own_vm), Some(provider_ref)) = (listed, own_vm, &volume.provider_ref) else {
        return CloudView::Unknown;
    };
    match listed.get(provider_ref) {
        None => CloudView::Gone,
        Some(seen) if seen.state == ProviderState::Destroyed => CloudView::Deleted,
        Some(ProviderVolume {
            state: ProviderState::Busy(what),
            ..
        }) => CloudView::Busy(what.clone()),
        Some(seen) => match &seen.attached_to {
            None => CloudView::Detached,
            Some(vm) if vm == own_vm => CloudView::AttachedHere,
            Some(vm) => CloudView::AttachedElsewhere(vm.clone()),
        },
    }
}

/// What the kernel shows of it.
pub(super) fn kernel_view(
    volume: &VolumeRecord,
    mapping: Option<&MappingRecord>,
    cloud: &CloudView,
    inventory: &Inventory,
) -> KernelView {
    let Some(identity) = &volume.identity else {
        return KernelView::Absent;
    };
    if !inventory.unsettled.is_empty() {
        return KernelView::Unsettled;
    }
    let disks: Vec<_> = inventory.carriers(identity).collect();
    if *cloud == CloudView::Gone && mapping.is_none() && matches!(identity, Identity::LoopBacking { .. }) {
        // The number of a file that is gone is soon another file's, and so is the device over that.
        return KernelView::Absent;
    }
    let nodes = || {
        disks
            .iter()
            .map(|disk| disk.node.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match disks.as_slice() {
        [] => KernelView::Absent,
        [disk] => {
            let holds = mapping.is_some_and(|mapping| is_as_bound(mapping, disk, inventory));
            match (holds, disk.size == volume.size) {
                (_, false) => KernelView::WrongSize {
                    node: nodes(),
                    size: disk.size,
                },
                (true, true) => KernelView::AsBound { node: nodes() },
                (false, true) => KernelView::Present {
                    node: nodes(),
                    diskseq: disk.diskseq,
                },
            }
        }
        _ => KernelView::Several { nodes: nodes() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::plan::tests::views;
    use super::*;
    use crate::model::{Bytes, DevNum, VolumeState};

    fn inventory(identity: &Identity) -> Inventory {
        let disk = Disk {
            name: "loop3".into(),
            node: "/dev/loop3".into(),
            devnum: DevNum { major: 7, minor: 3 },
            diskseq: Some(9),
            size: Bytes::GIB,
            read_only: false,
            identity: Some(identity.clone()),
            holders: Vec::new(),
            partitions: Vec::new(),
        };
        Inventory {
            boot_id: "boot".into(),
            generation: 1,
            disks: vec![disk],
            unsettled: Vec::new(),
            disputed: BTreeSet::new(),
        }
    }

    fn shown(identity: Identity, cloud: &CloudView) -> KernelView {
        let mut record = views(VolumeState::Available, cloud.clone(), KernelView::Absent).record;
        let inventory = inventory(&identity);
        record.identity = Some(identity);
        kernel_view(&record, None, cloud, &inventory)
    }

    /// File systems give the inode of a removed file to the next one: seen in a run of all tests at once.
    #[test]
    fn the_inode_of_a_file_that_is_gone_is_no_proof_of_a_device() {
        let file = || Identity::LoopBacking { device: 1, inode: 12 };
        assert_eq!(shown(file(), &CloudView::Gone), KernelView::Absent);
        let here = KernelView::Present {
            node: "/dev/loop3".into(),
            diskseq: Some(9),
        };
        for cloud in [CloudView::Detached, CloudView::AttachedHere, CloudView::Unknown] {
            assert_eq!(shown(file(), &cloud), here, "{cloud:?}");
        }
        assert_eq!(shown(Identity::Serial("s".into()), &CloudView::Gone), here);
    }
}
