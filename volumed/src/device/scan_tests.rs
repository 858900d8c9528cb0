//! Scans of made-up machines.

use super::super::fake_tree::FakeTree;
use super::*;
use crate::device::identity::NotReady;
use crate::model::Identity;

fn serial(text: &str) -> Option<Identity> {
    Some(Identity::Serial(text.to_owned()))
}

#[test]
fn a_virtio_disk_is_seen_whole() {
    let tree = FakeTree::new();
    let dir = tree.disk("vdb", "254:16", 12);
    tree.write(dir.join("serial"), "5b8d4f2e1c3a4d2b9f00");
    tree.write(dir.join("ro"), "1\n");
    tree.write(dir.join("vdb1/partition"), "1\n");
    tree.write(dir.join("vdb1/dev"), "254:17\n");
    tree.write(dir.join("vdb1/holders/dm-0"), "");
    tree.write(dir.join("holders/dm-3"), "");

    let inventory = scan(&tree.root()).unwrap();

    assert_eq!(inventory.boot_id, "b007");
    assert_eq!(inventory.unsettled, Vec::<String>::new());
    let expected = Disk {
        name: "vdb".into(),
        node: tree.path("dev/vdb"),
        devnum: DevNum {
            major: 254,
            minor: 16,
        },
        diskseq: Some(12),
        size: Bytes(4096),
        read_only: true,
        identity: serial("5b8d4f2e1c3a4d2b9f00"),
        holders: vec!["dm-0".into(), "dm-3".into()],
        partitions: vec![Partition {
            name: "vdb1".into(),
            devnum: DevNum {
                major: 254,
                minor: 17,
            },
        }],
    };
    assert_eq!(inventory.disks, [expected]);
    assert_eq!(
        inventory
            .covering(DevNum {
                major: 254,
                minor: 17
            })
            .unwrap()
            .name,
        "vdb"
    );
    assert_eq!(inventory.incarnation(&inventory.disks[0]).unwrap().diskseq, 12);
}

#[test]
fn a_scsi_disk_has_its_serial_in_page_80() {
    let tree = FakeTree::new();
    let dir = tree.disk("sda", "8:0", 1);
    tree.write(
        dir.join("device/vpd_pg80"),
        b"\x00\x80\x00\x245b8d4f2e-1c3a-4d2b-9f00-aabbccddeeff  ",
    );
    let other = tree.disk("sdb", "8:16", 2);
    tree.write(other.join("device/vendor"), "no page 80");
    let short = tree.disk("sdc", "8:32", 3);
    tree.write(short.join("device/vpd_pg80"), b"\x00\x80");

    let inventory = scan(&tree.root()).unwrap();

    assert_eq!(
        inventory.disk("sda").unwrap().identity,
        serial("5b8d4f2e-1c3a-4d2b-9f00-aabbccddeeff")
    );
    assert_eq!(inventory.disk("sdb").unwrap().identity, None);
    assert_eq!(inventory.disk("sdc").unwrap().identity, None);
    assert_eq!(inventory.unsettled, Vec::<String>::new());
}

#[test]
fn a_disk_whose_serial_is_not_there_yet_is_unsettled_and_has_no_identity() {
    let tree = FakeTree::new();
    tree.disk("vdb", "254:16", 12);

    let inventory = scan(&tree.root()).unwrap();

    assert_eq!(inventory.disk("vdb").unwrap().identity, None);
    assert_eq!(inventory.unsettled, ["vdb"]);
}

#[test]
fn a_missing_attribute_unsettles_its_disk_and_no_other() {
    for attribute in ["dev", "size", "ro", "diskseq", "uevent"] {
        let tree = FakeTree::new();
        let broken = tree.disk("vdb", "254:16", 12);
        std::fs::remove_file(tree.path(broken.join(attribute))).unwrap();
        tree.disk("zram0", "253:0", 3);

        let inventory = scan(&tree.root()).unwrap();

        assert_eq!(inventory.unsettled, ["vdb"], "without {attribute}");
        assert!(inventory.disk("vdb").is_none(), "without {attribute}");
        assert!(inventory.disk("zram0").is_some(), "without {attribute}");
    }
}

#[test]
fn an_old_kernel_has_no_diskseq() {
    let tree = FakeTree::new();
    let dir = tree.disk("dm-0", "252:0", 1);
    std::fs::remove_file(tree.path(dir.join("diskseq"))).unwrap();
    tree.write(
        dir.join("uevent"),
        "MAJOR=252\nMINOR=0\nDEVNAME=dm-0\nDEVTYPE=disk\n",
    );

    let inventory = scan(&tree.root()).unwrap();

    assert_eq!(inventory.disk("dm-0").unwrap().diskseq, None);
    assert_eq!(inventory.incarnation(inventory.disk("dm-0").unwrap()), None);
}

#[test]
fn what_is_no_usable_whole_disk_is_left_out() {
    let tree = FakeTree::new();
    let idle = tree.disk("loop0", "7:0", 4);
    tree.write(idle.join("size"), "0\n");
    let hidden = tree.disk("nvme0c0n1", "259:1", 5);
    tree.write(hidden.join("hidden"), "1\n");
    let part = tree.disk("odd", "259:2", 6);
    tree.write(part.join("uevent"), "DEVNAME=odd\nDEVTYPE=partition\n");

    let inventory = scan(&tree.root()).unwrap();

    assert_eq!(inventory.disks, []);
    assert_eq!(inventory.unsettled, Vec::<String>::new());
}

#[test]
fn a_machine_that_cannot_be_read_is_an_error() {
    let tree = FakeTree::new();
    std::fs::remove_dir(tree.root().block_dir()).unwrap();
    assert_eq!(scan(&tree.root()).unwrap_err().path, tree.path("sys/block"));
    std::fs::remove_file(tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    assert!(scan(&tree.root()).unwrap_err().path.ends_with("boot_id"));
}

/// Swaps the disk behind the name while its identity is being asked for.
struct Swapping<'a> {
    tree: &'a FakeTree,
    times: std::sync::atomic::AtomicU64,
}

impl IdentitySource for Swapping<'_> {
    fn identity(&self, _: &Path, name: &str, _: &Path, _: DevNum) -> Result<Option<Identity>, NotReady> {
        let left = self.times.load(std::sync::atomic::Ordering::SeqCst);
        if left > 0 {
            self.times.store(left - 1, std::sync::atomic::Ordering::SeqCst);
            self.tree.disk(name, "254:16", 100 + left);
        }
        Ok(serial(&format!("after {left}")))
    }
}

#[test]
fn a_disk_that_is_swapped_while_read_is_never_a_mixture() {
    let tree = FakeTree::new();
    tree.disk("vdb", "254:16", 12);
    let once = Swapping {
        tree: &tree,
        times: 1.into(),
    };
    let inventory = scan_with(&tree.root(), &once, 7).unwrap();
    assert_eq!(inventory.generation, 7);
    let disk = inventory.disk("vdb").unwrap();
    assert_eq!((disk.diskseq, &disk.identity), (Some(101), &serial("after 0")));

    let always = Swapping {
        tree: &tree,
        times: 1000.into(),
    };
    let inventory = scan_with(&tree.root(), &always, 8).unwrap();
    assert_eq!(inventory.disks, []);
    assert_eq!(inventory.unsettled, ["vdb"]);
}
