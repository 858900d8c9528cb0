//! Tiles of a range, runs of a buffer, and names of a disk's content.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{
    ChangeId, Disk, DiskKind, DiskMode, Endpoint, Firmware, Machine, MachineConfig, Provisioning, Reference,
};
use super::SourceBinding;
use super::allocated::tiled;
use super::runs::{READ_ALONG, runs};
use crate::block::extent::{check_coverage, normalize};
use crate::block::{Extent, ExtentKind};

const BUFFER: usize = 1 << 20;

/// Parts of a buffer: ascending and disjoint; they may touch.
fn parts() -> impl Strategy<Value = Vec<Range<usize>>> {
    vec((0..300_000_usize, 1..300_000_usize), 1..40).prop_map(|steps| {
        let mut at = 0;
        let mut parts = Vec::new();
        for (gap, length) in steps {
            let start = at + if gap % 3 == 0 { 0 } else { gap % 200_000 };
            let end = (start + length).min(BUFFER);
            if start >= end {
                break;
            }
            parts.push(start..end);
            at = end;
        }
        parts
    })
}

proptest! {
    #[test]
    fn tiles_cover_a_range_and_say_of_each_byte_whether_an_area_holds_it(
        areas in vec((0..400_u64, 1..40_u64), 0..20),
        start in 0..420_u64,
        length in 0..200_u64,
    ) {
        let areas = normalize(areas.into_iter().map(|(start, length)| start..start + length).collect());
        let range = start..start + length;
        let tiles = tiled(&areas, &range);
        prop_assert_eq!(check_coverage(&tiles, &range), Ok(()));
        for tile in &tiles {
            for byte in tile.range() {
                let is_held = areas.iter().any(|area| area.contains(&byte));
                prop_assert_eq!(is_held, tile.kind == ExtentKind::Data, "byte {}", byte);
            }
        }
        prop_assert!(tiles.windows(2).all(|two| two[0].kind != two[1].kind), "joined");
    }

    #[test]
    fn runs_hold_each_wanted_byte_once_and_read_along_no_wide_gap(parts in parts()) {
        let runs = runs(&parts);
        let mut left = parts.iter();
        for run in &runs {
            let mut at = run.range.start;
            let mut gaps = run.gaps.iter().peekable();
            while at < run.range.end {
                if let Some(gap) = gaps.next_if(|gap| gap.start == at) {
                    prop_assert!(!gap.is_empty() && gap.len() <= READ_ALONG);
                    at = gap.end;
                }
                let part = left.next().unwrap();
                prop_assert_eq!(part.start, at);
                at = part.end;
            }
            prop_assert_eq!(at, run.range.end);
            prop_assert!(gaps.next().is_none());
        }
        prop_assert!(left.next().is_none());
        for two in runs.windows(2) {
            prop_assert!(two[1].range.start - two[0].range.end > READ_ALONG);
        }
    }

    #[test]
    fn what_is_not_wanted_stays_as_it_was(parts in parts()) {
        let mut buffer = vec![1_u8; BUFFER];
        for run in runs(&parts) {
            let spared = run.spare(&buffer);
            buffer[run.range.clone()].fill(2);
            spared.put_back(&mut buffer);
        }
        let mut expected = vec![1_u8; BUFFER];
        for part in parts {
            expected[part].fill(2);
        }
        prop_assert!(buffer == expected);
    }
}

#[test]
fn a_range_beside_all_areas_is_zero() {
    let areas = [100..200_u64, 300..400];
    for range in [0..100, 200..300, 400..500] {
        assert_eq!(tiled(&areas, &range), [Extent::zero(range)]);
    }
    assert_eq!(tiled(&areas, &(150..160)), [Extent::data(150..160)]);
    assert_eq!(tiled(&areas, &(150..150)), []);
    assert_eq!(tiled(&[], &(0..7)), [Extent::zero(0..7)]);
    assert_eq!(tiled(&[0..5, 5..u64::MAX], &(0..7)), [Extent::data(0..7)]);
}

#[test]
fn near_parts_are_one_request_and_far_ones_are_two() {
    let near = [0..4096, 4096 + READ_ALONG..300_000];
    let far = [0..4096, 4097 + READ_ALONG..300_000];
    assert_eq!((runs(&near).len(), runs(&far).len()), (1, 2));
    let touching = &runs(&[0..4096, 4096..8192])[0];
    assert_eq!((touching.range.clone(), touching.gaps.len()), (0..8192, 0));
}

fn machine(instance_uuid: Option<&str>) -> Machine {
    let config = MachineConfig {
        instance_uuid: instance_uuid.map(str::to_owned),
        bios_uuid: None,
        num_cpu: 1,
        memory_mb: 1024,
        guest_os: None,
        guest_id: None,
        vmx_version: None,
        vmx_path: None,
        firmware: Firmware::Bios,
        is_template: false,
        is_encrypted: false,
        change_tracking: true,
        disks: Vec::new(),
        networks: Vec::new(),
    };
    Machine {
        id: "vm-57".to_owned(),
        name: "web".to_owned(),
        path: "/DC0/vm/web".to_owned(),
        datacenter: None,
        datacenter_path: None,
        host: None,
        power_state: None,
        connection_state: None,
        change_tracking_supported: None,
        needs_consolidation: false,
        snapshots: Vec::new(),
        config: Some(config),
    }
}

fn disk(uuid: Option<&str>, change_id: Option<&str>) -> Disk {
    Disk {
        id: "disk-2000".to_owned(),
        key: 2000,
        uuid: uuid.map(str::to_owned),
        path: None,
        parents: Vec::new(),
        label: "Hard disk 1".to_owned(),
        capacity_bytes: Some(1 << 30),
        datastore: None,
        datastore_type: None,
        provisioning: Provisioning::Thin,
        mode: DiskMode::Persistent,
        kind: DiskKind::Flat,
        is_shared: false,
        is_encrypted: false,
        is_tracked: None,
        change_id: change_id.map(|id| id.parse::<ChangeId>().unwrap()),
    }
}

#[test]
fn a_binding_tells_contents_apart_and_reads_the_same_for_the_same() {
    let snapshot = |id: &str| Reference::new("VirtualMachineSnapshot", id);
    let vc: Endpoint = "https://vc.example/sdk".parse().unwrap();
    let name = |endpoint: &Endpoint, instance, snapshot: &Reference, disk: &Disk| {
        SourceBinding::new(endpoint, &machine(instance), snapshot, disk).to_string()
    };
    let whole = disk(Some("6000C29"), Some("52 de c0/81"));
    let one = name(&vc, Some("5029"), &snapshot("snapshot-70"), &whole);
    assert_eq!(
        one,
        "vsphere vc.example instance 5029 disk 2000 uuid 6000C29 snapshot snapshot-70 change 52 de c0/81"
    );
    assert_eq!(name(&vc, Some("5029"), &snapshot("snapshot-70"), &whole), one);
    let other_vc = "vc.example:8443".parse().unwrap();
    let others = [
        name(&other_vc, Some("5029"), &snapshot("snapshot-70"), &whole),
        name(&vc, Some("5030"), &snapshot("snapshot-70"), &whole),
        name(&vc, None, &snapshot("snapshot-70"), &whole),
        name(&vc, Some("5029"), &snapshot("snapshot-71"), &whole),
        name(
            &vc,
            Some("5029"),
            &snapshot("snapshot-70"),
            &disk(Some("6000C2a"), Some("52 de c0/81")),
        ),
        name(
            &vc,
            Some("5029"),
            &snapshot("snapshot-70"),
            &disk(Some("6000C29"), Some("52 de c0/82")),
        ),
        name(&vc, Some("5029"), &snapshot("snapshot-70"), &disk(None, None)),
    ];
    let all: std::collections::BTreeSet<_> = others.iter().chain([&one]).collect();
    assert_eq!(all.len(), others.len() + 1);
    assert_eq!(others[2], one.replace("instance 5029", "machine vm-57"));
    assert_eq!(
        others[6],
        "vsphere vc.example instance 5029 disk 2000 snapshot snapshot-70"
    );
}
