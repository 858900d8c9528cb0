//! Each check on made-up machines: healthy, and with the one thing wrong that it is there for.

use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::*;
use crate::device::fake_tree::FakeTree;
use crate::device::scan::scan;
use crate::device::watcher::Hearing;
use crate::model::CheckStatus::{self, Failed, Passed, Warning};

const A: &str = "5b8d4f2e1c3a4d2b9f00";
const B: &str = "77aa0000111122223333";

/// What the check of this name says of the machine.
fn check(tree: &FakeTree, name: &str) -> Check {
    let inventory = scan(&tree.root()).unwrap();
    let mut checks = examine_disks(&tree.root(), &inventory);
    checks.retain(|check| check.name == name);
    assert_eq!(checks.len(), 1, "{name}");
    checks.remove(0)
}

#[track_caller]
fn assert_says(check: &Check, status: CheckStatus, words: &[&str]) {
    assert_eq!(check.status, status, "{check:?}");
    assert_eq!(check.advice.is_some(), status != Passed, "{check:?}");
    for word in words {
        assert!(check.seen.contains(word), "`{word}` is not in {check:?}");
    }
}

fn two_disks() -> FakeTree {
    let tree = FakeTree::new();
    tree.virtio("vda", 0, A);
    tree.virtio("vdb", 16, B);
    tree
}

#[test]
fn links_that_lead_where_they_say_pass() {
    let tree = two_disks();
    tree.link(&format!("virtio-{A}"), "vda");
    tree.link(&format!("virtio-{B}"), "vdb");
    tree.link(&format!("virtio-{B}-part1"), "vdb1");
    assert_says(&check(&tree, "udev links"), Passed, &["none of 2"]);
}

#[test]
fn a_link_to_a_disk_of_another_serial_fails_and_names_both() {
    let tree = two_disks();
    tree.link(&format!("virtio-{A}"), "vdb");
    let check = check(&tree, "udev links");
    assert_says(&check, Failed, &[&format!("virtio-{A}"), "dev/vdb", B]);
}

#[test]
fn a_link_to_a_disk_without_serial_fails_too() {
    let tree = FakeTree::new();
    tree.virtio("vda", 0, "");
    tree.link(&format!("virtio-{A}"), "vda");
    assert_says(&check(&tree, "udev links"), Failed, &["shows no serial"]);
}

#[test]
fn a_link_that_was_left_behind_is_a_warning() {
    let tree = two_disks();
    tree.link("virtio-gone", "vdc");
    assert_says(
        &check(&tree, "udev links"),
        Warning,
        &["virtio-gone", "not there"],
    );
}

#[test]
fn no_links_are_no_fault() {
    assert_says(&check(&two_disks(), "udev links"), Passed, &["there are none"]);
}

#[test]
fn serials_are_compared_as_udev_writes_them() {
    let tree = FakeTree::new();
    tree.virtio("vda", 0, "a  b;c ");
    tree.link("virtio-a_b_c", "vda");
    scsi(&tree, "sda", 0, "5b8d4f2e-1c3a-4d2b-9f00-aabbccddeeff");
    tree.link("scsi-0QEMU_QEMU_HARDDISK_5b8d4f2e-1c3a-4d2b-9", "sda");
    tree.link(
        "scsi-SQEMU_QEMU_HARDDISK_5b8d4f2e-1c3a-4d2b-9f00-aabbccddeeff",
        "sda",
    );
    tree.link("wwn-0x5000c500a1b2c3d4", "sda");
    assert_says(&check(&tree, "udev links"), Passed, &["none of 4"]);
}

#[test]
fn a_link_by_model_that_ends_with_another_disks_serial_fails() {
    let tree = FakeTree::new();
    scsi(&tree, "sda", 0, A);
    scsi(&tree, "sdb", 16, B);
    tree.link(&format!("scsi-SQEMU_QEMU_HARDDISK_{A}"), "sdb");
    assert_says(&check(&tree, "udev links"), Failed, &[A, B, "dev/sdb"]);
}

#[test]
fn serial_twins_fail_and_are_named() {
    let tree = two_disks();
    assert_says(&check(&tree, "serial twins"), Passed, &[]);
    tree.virtio("vdc", 32, A);
    let check = check(&tree, "serial twins");
    assert_says(&check, Failed, &["dev/vda", "dev/vdc", A]);
    assert!(!check.seen.contains("vdb"), "{check:?}");
}

#[test]
fn a_disk_without_serial_is_a_warning() {
    let tree = two_disks();
    assert_says(&check(&tree, "disk serials"), Passed, &["2 disks"]);
    tree.virtio("vdc", 32, " \n");
    let disk = tree.disk("nvme0n1", "259:0", 9);
    assert!(tree.path(disk).exists());
    let check = check(&tree, "disk serials");
    assert_says(&check, Warning, &["dev/vdc"]);
    assert!(!check.seen.contains("nvme"), "it is no candidate: {check:?}");
}

#[test]
fn a_disk_that_cannot_be_read_is_a_warning() {
    let tree = two_disks();
    tree.disk("vdc", "254:32", 3);
    assert_says(&check(&tree, "disk serials"), Warning, &["vdc"]);
}

#[test]
fn buses_are_told() {
    let tree = two_disks();
    scsi(&tree, "sda", 0, "serial");
    tree.disk("nvme0n1", "259:0", 9);
    let seen = [
        "virtio (vd): 2",
        "SCSI (sd): 1",
        "never taken for a volume: nvme0n1",
    ];
    assert_says(&check(&tree, "disk buses"), Passed, &seen);
    assert_says(&check(&FakeTree::new(), "disk buses"), Passed, &["no disk"]);
}

#[test]
fn a_kernel_without_diskseq_is_a_warning() {
    let tree = two_disks();
    assert_says(&check(&tree, "diskseq"), Passed, &[]);
    let dir = tree.disk("vdc", "254:32", 3);
    tree.write(dir.join("serial"), "c");
    std::fs::remove_file(tree.path(dir.join("diskseq"))).unwrap();
    tree.write(
        dir.join("uevent"),
        "MAJOR=254\nMINOR=32\nDEVNAME=vdc\nDEVTYPE=disk\n",
    );
    assert_says(&check(&tree, "diskseq"), Warning, &["vdc"]);
}

#[test]
fn a_node_that_is_missing_or_something_else_fails() {
    let tree = FakeTree::new();
    tree.virtio("vda", 0, A);
    assert_says(&check(&tree, "device nodes"), Failed, &["dev/vda cannot be seen"]);
    tree.write("dev/vda", "");
    assert_says(
        &check(&tree, "device nodes"),
        Failed,
        &["dev/vda is no block device"],
    );
}

#[test]
fn only_disks_that_may_be_volumes_need_their_nodes() {
    let tree = FakeTree::new();
    tree.disk("zram0", "252:0", 1);
    assert_says(&check(&tree, "device nodes"), Warning, &["dev/zram0"]);
}

#[test]
fn a_node_of_another_number_fails() {
    let tree = FakeTree::new();
    tree.virtio("vda", 0, A);
    let node = tree.path("dev/vda");
    let make = |minor| mknodat(CWD, &node, FileType::BlockDevice, Mode::RUSR, makedev(254, minor));
    if let Err(error) = make(0) {
        assert!(std::env::var("CI").is_err(), "CI must run this as root: {error}");
        eprintln!("SKIPPED: needs root to make device nodes");
        return;
    }
    assert_says(&check(&tree, "device nodes"), Passed, &["all 1 disks"]);
    std::fs::remove_file(&node).unwrap();
    make(16).unwrap();
    assert_says(
        &check(&tree, "device nodes"),
        Failed,
        &["is number 254:16, not 254:0"],
    );
}

#[test]
fn udevd_is_told_by_socket_and_process() {
    let tree = FakeTree::new();
    assert_says(&check(&tree, "udevd"), Warning, &["none runs"]);
    tree.write("run/udev/control", "");
    assert_says(&check(&tree, "udevd"), Warning, &["no such process"]);
    process(&tree, "41", "udev-worker", "S");
    assert_says(&check(&tree, "udevd"), Warning, &["no such process"]);
    process(&tree, "42", "systemd-udevd", "S");
    assert_says(&check(&tree, "udevd"), Passed, &["process 42"]);
    process(&tree, "42", "systemd-udevd", "T");
    assert_says(&check(&tree, "udevd"), Warning, &["process 42 is stopped"]);
    process(&tree, "42", "systemd-udevd", "Z");
    assert_says(&check(&tree, "udevd"), Warning, &["no such process"]);
}

#[test]
fn a_watcher_without_its_alarms_is_a_warning() {
    let hearing = |kernel, inotify| Hearing {
        kernel,
        udev: true,
        inotify,
    };
    assert_says(&alarms::alarms(hearing(true, true), 0), Passed, &["uevents"]);
    assert_says(
        &alarms::alarms(hearing(true, true), 7),
        Passed,
        &["7 uevents were lost"],
    );
    assert_says(
        &alarms::alarms(hearing(false, true), 0),
        Warning,
        &["device directory"],
    );
    assert_says(&alarms::alarms(hearing(true, false), 0), Warning, &["uevents"]);
}

#[test]
fn a_scan_that_hangs_fails_and_scans_that_failed_are_a_warning() {
    let ms = Duration::from_millis(2);
    assert_says(&alarms::scans(None, ms, 0), Passed, &["2.0 ms"]);
    assert_says(&alarms::scans(Some(ms), ms, 0), Passed, &[]);
    let long = Some(Duration::from_secs(11));
    assert_says(&alarms::scans(long, ms, 0), Failed, &["11 s"]);
    assert_says(&alarms::scans(None, ms, 3), Warning, &["3 failed"]);
}

fn process(tree: &FakeTree, pid: &str, name: &str, state: &str) {
    tree.write(format!("proc/{pid}/comm"), format!("{name}\n"));
    tree.write(format!("proc/{pid}/stat"), format!("{pid} (({name}) {state} 1 1"));
}

/// Plugs a SCSI disk; the serial stands in VPD page 0x80, behind four bytes of head.
fn scsi(tree: &FakeTree, name: &str, minor: u32, serial: &str) {
    let dir = tree.disk(name, &format!("8:{minor}"), 100 + u64::from(minor));
    let length = u8::try_from(serial.len()).unwrap();
    let page = [&[0, 0x80, 0, length], serial.as_bytes()].concat();
    tree.write(dir.join("device/vpd_pg80"), page);
}
