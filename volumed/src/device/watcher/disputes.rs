//! Which plug-ins were ever seen beside another one that claims to be the same disk.
//!
//! Two disks with one serial are an alarm. When one of them goes, the other is no better known than before: the one that
//! stays may be the one that does not belong here. So both are remembered for as long as they are plugged in, and neither
//! is ever matched anew; only what was bound before the other came stays bound.

use std::collections::{BTreeMap, BTreeSet};

use crate::device::disk::Inventory;

/// The disputed plug-ins of this boot, by their `diskseq`.
#[derive(Debug, Default)]
pub(super) struct Disputes(BTreeSet<u64>);

impl Disputes {
    /// With what was known before the watcher started.
    pub(super) fn known(before: &BTreeSet<u64>) -> Self {
        Self(before.clone())
    }

    /// Takes note of who claims to be the same disk in this inventory, and marks them in it. What is no longer plugged in is
    /// forgotten: its number never comes again.
    pub(super) fn mark(&mut self, inventory: &mut Inventory) {
        let mut claims: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for disk in &inventory.disks {
            if let (Some(identity), Some(diskseq)) = (&disk.identity, disk.diskseq) {
                claims.entry(identity).or_default().push(diskseq);
            }
        }
        let several = claims.into_values().filter(|claimants| claimants.len() > 1);
        self.0.extend(several.flatten());
        // While something is in transition, absence proves nothing.
        if inventory.unsettled.is_empty() {
            let here: BTreeSet<u64> = inventory.disks.iter().filter_map(|disk| disk.diskseq).collect();
            self.0.retain(|diskseq| here.contains(diskseq));
        }
        inventory.disputed.clone_from(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::disk::Disk;
    use crate::model::{Bytes, DevNum, Identity};

    const NONE: [u64; 0] = [];

    fn inventory(disks: &[(&str, u64)]) -> Inventory {
        let disk = |(serial, diskseq): &(&str, u64)| Disk {
            name: format!("vd{diskseq}"),
            node: format!("/dev/vd{diskseq}").into(),
            devnum: DevNum { major: 252, minor: 0 },
            diskseq: Some(*diskseq),
            size: Bytes::GIB,
            read_only: false,
            identity: (!serial.is_empty()).then(|| Identity::Serial((*serial).to_owned())),
            holders: Vec::new(),
            partitions: Vec::new(),
        };
        Inventory {
            boot_id: "boot".into(),
            generation: 1,
            disks: disks.iter().map(disk).collect(),
            unsettled: Vec::new(),
            disputed: BTreeSet::new(),
        }
    }

    fn marked(disputes: &mut Disputes, disks: &[(&str, u64)]) -> Vec<u64> {
        let mut inventory = inventory(disks);
        disputes.mark(&mut inventory);
        inventory.disputed.into_iter().collect()
    }

    #[test]
    fn who_stays_when_a_twin_goes_is_still_disputed() {
        let mut disputes = Disputes::default();
        assert_eq!(
            marked(&mut disputes, &[("a", 1), ("b", 2), ("", 3), ("", 4)]),
            NONE
        );
        assert_eq!(marked(&mut disputes, &[("a", 1), ("b", 2), ("a", 5)]), [1, 5]);
        assert_eq!(marked(&mut disputes, &[("b", 2), ("a", 5)]), [5]);
        assert_eq!(marked(&mut disputes, &[("b", 2), ("a", 5), ("a", 6)]), [5, 6]);
        assert_eq!(marked(&mut disputes, &[("b", 2), ("a", 6)]), [6]);
        assert_eq!(
            marked(&mut disputes, &[("b", 2), ("a", 7)]),
            NONE,
            "plugged in anew, alone"
        );
    }

    #[test]
    fn what_was_known_before_counts_and_is_not_forgotten_while_things_change() {
        let mut disputes = Disputes::known(&[5].into());
        let mut changing = inventory(&[("b", 2)]);
        changing.unsettled.push("vdx".into());
        disputes.mark(&mut changing);
        assert_eq!(marked(&mut disputes, &[("a", 5)]), [5]);
        assert_eq!(marked(&mut disputes, &[]), NONE);
        assert_eq!(marked(&mut disputes, &[("a", 5)]), NONE);
    }
}
