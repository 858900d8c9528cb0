//! The correlator's table, row by row.

use super::*;
use crate::model::{Bytes, DevNum, Identity};

const SIZE: Bytes = Bytes(1 << 20);

fn disk(name: &str, minor: u32, serial: Option<&str>) -> Disk {
    Disk {
        name: name.to_owned(),
        node: format!("/dev/{name}").into(),
        devnum: DevNum { major: 254, minor },
        diskseq: Some(minor.into()),
        size: SIZE,
        read_only: false,
        identity: serial.map(|serial| Identity::Serial(serial.to_owned())),
        holders: Vec::new(),
        partitions: Vec::new(),
    }
}

fn inventory(disks: &[Disk]) -> Inventory {
    Inventory {
        boot_id: "b".into(),
        generation: 1,
        disks: disks.to_vec(),
        unsettled: Vec::new(),
        disputed: std::collections::BTreeSet::new(),
    }
}

fn expected(serial: &str) -> Expectation {
    Expectation {
        identity: Identity::Serial(serial.to_owned()),
        size: SIZE,
    }
}

fn answer(disks: &[Disk], usage: &Usage, serial: &str) -> Correlation {
    correlate(&inventory(disks), usage, &expected(serial))
}

#[test]
fn exactly_one_free_disk_of_the_right_size_matches() {
    let ours = disk("vdc", 32, Some("aaa"));
    let disks = [disk("vda", 0, None), disk("vdb", 16, Some("bbb")), ours.clone()];
    assert_eq!(
        answer(&disks, &Usage::default(), "aaa"),
        Correlation::Matched(ours)
    );
}

#[test]
fn nothing_but_the_exact_identity_counts() {
    let disks = [
        disk("vda", 0, None),
        disk("vdb", 16, Some("aaa")),
        disk("vdc", 32, Some("aaaa")),
    ];
    for serial in ["aa", "AAA", "aaa ", "aaaaa"] {
        assert_eq!(
            answer(&disks, &Usage::default(), serial),
            Correlation::Missing,
            "{serial:?}"
        );
    }
}

#[test]
fn twins_are_ambiguous_even_if_only_one_has_the_right_size() {
    let (left, mut right) = (disk("vdb", 16, Some("aaa")), disk("vdc", 32, Some("aaa")));
    right.size = Bytes(1);
    let disks = [left, right];
    assert_eq!(
        answer(&disks, &Usage::default(), "aaa"),
        Correlation::Ambiguous(disks.to_vec())
    );
}

#[test]
fn the_size_is_a_veto() {
    for size in [Bytes(0), Bytes(SIZE.0 - 512), Bytes(SIZE.0 + 512)] {
        let mut ours = disk("vdb", 16, Some("aaa"));
        ours.size = size;
        assert_eq!(
            answer(&[ours.clone()], &Usage::default(), "aaa"),
            Correlation::WrongSize(ours)
        );
    }
}

#[test]
fn a_used_disk_is_busy_and_says_why() {
    let (ours, other) = (disk("vdb", 16, Some("aaa")), disk("vdc", 32, Some("bbb")));
    for used in [
        Use::Mounted("/mnt".into()),
        Use::Swap("/dev/vdb1".into()),
        Use::Held("dm-0".into()),
        Use::Opened {
            pid: 1,
            comm: "dd".into(),
        },
        Use::Exclusive,
    ] {
        let mut usage = Usage::default();
        usage.add(ours.devnum, used.clone());
        usage.add(ours.devnum, used.clone());
        let disks = [ours.clone(), other.clone()];
        assert_eq!(
            answer(&disks, &usage, "aaa"),
            Correlation::Busy(ours.clone(), vec![used])
        );
        assert_eq!(
            answer(&disks, &usage, "bbb"),
            Correlation::Matched(other.clone()),
            "used is the other one"
        );
    }
}

#[test]
fn a_claim_of_another_volume_makes_it_foreign_whatever_else_uses_it() {
    let ours = disk("vdb", 16, Some("aaa"));
    let mut usage = Usage::default();
    usage.add(ours.devnum, Use::Mounted("/mnt".into()));
    usage.add(ours.devnum, Use::Claimed("vol-2".into()));
    let claimed = ForeignReason::Claimed {
        disk: ours.clone(),
        by: "vol-2".into(),
    };
    assert_eq!(answer(&[ours], &usage, "aaa"), Correlation::Foreign(claimed));
}

#[test]
fn an_expectation_that_proves_nothing_matches_nothing() {
    let blank = [
        disk("vdb", 16, Some("")),
        disk("vdc", 32, Some(" ")),
        disk("vdd", 48, None),
    ];
    for serial in ["", " ", "\t"] {
        let foreign = Correlation::Foreign(ForeignReason::NoIdentity);
        assert_eq!(answer(&blank, &Usage::default(), serial), foreign, "{serial:?}");
    }
    let mut looped = disk("loop0", 0, None);
    looped.identity = Some(Identity::LoopBacking { device: 7, inode: 0 });
    let expected = Expectation {
        identity: looped.identity.clone().unwrap(),
        size: SIZE,
    };
    let answer = correlate(&inventory(&[looped]), &Usage::default(), &expected);
    assert_eq!(answer, Correlation::Foreign(ForeignReason::NoIdentity));
}

#[test]
fn a_loop_device_matches_by_device_and_inode_together() {
    let mut looped = disk("loop0", 0, None);
    looped.identity = Some(Identity::LoopBacking { device: 7, inode: 9 });
    let inventory = inventory(&[looped.clone()]);
    let correlate = |device, inode| {
        let identity = Identity::LoopBacking { device, inode };
        correlate(
            &inventory,
            &Usage::default(),
            &Expectation { identity, size: SIZE },
        )
    };
    assert_eq!(correlate(7, 9), Correlation::Matched(looped));
    assert_eq!(correlate(9, 7), Correlation::Missing);
    assert_eq!(correlate(7, 8), Correlation::Missing);
}

#[test]
fn the_one_that_stayed_of_two_is_not_taken() {
    let one = disk("vdb", 5, Some("s1"));
    let mut inventory = inventory(std::slice::from_ref(&one));
    inventory.disputed.insert(5);
    let expected = expected("s1");
    assert_eq!(
        correlate(&inventory, &Usage::default(), &expected),
        Correlation::Disputed(one.clone())
    );
    inventory.disputed = [6].into();
    assert_eq!(
        correlate(&inventory, &Usage::default(), &expected),
        Correlation::Matched(one)
    );
}
