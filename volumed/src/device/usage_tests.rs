//! Mount tables and holders of made-up machines.

use super::super::fake_tree::FakeTree;
use super::*;
use crate::device::scan::scan;

const VDB: DevNum = DevNum {
    major: 254,
    minor: 16,
};
const VDC: DevNum = DevNum {
    major: 254,
    minor: 32,
};

fn tree() -> FakeTree {
    let tree = FakeTree::new();
    let dir = tree.disk("vdb", "254:16", 1);
    tree.write(dir.join("serial"), "aaa");
    tree.write(dir.join("vdb1/partition"), "1\n");
    tree.write(dir.join("vdb1/dev"), "254:17\n");
    let dir = tree.disk("vdc", "254:32", 2);
    tree.write(dir.join("serial"), "bbb");
    tree
}

fn collect(tree: &FakeTree) -> Usage {
    Usage::collect(&tree.root(), &scan(&tree.root()).unwrap()).unwrap()
}

#[test]
fn mounts_of_a_disk_and_of_its_partitions_count_for_the_disk() {
    let tree = tree();
    tree.write(
        "proc/self/mountinfo",
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
         30 27 254:17 / /mnt/a\\040b rw shared:5 - ext4 /dev/vdb1 rw\n\
         31 27 254:16 / /mnt/whole rw - ext4 /dev/vdb rw\n\
         garbage\n",
    );
    let usage = collect(&tree);
    assert_eq!(
        usage.of(VDB),
        [Use::Mounted("/mnt/a b".into()), Use::Mounted("/mnt/whole".into())]
    );
    assert_eq!(usage.of(VDC), []);
}

#[test]
fn holders_count() {
    let tree = tree();
    tree.write("sys/block/vdc/holders/dm-0", "");
    assert_eq!(collect(&tree).of(VDC), [Use::Held("dm-0".into())]);
}

#[test]
fn a_machine_without_swap_has_none_and_one_without_a_mount_table_is_not_believed() {
    let tree = tree();
    assert_eq!(collect(&tree), Usage::default());
    std::fs::remove_file(tree.path("proc/self/mountinfo")).unwrap();
    let error = Usage::collect(&tree.root(), &scan(&tree.root()).unwrap()).unwrap_err();
    assert!(error.path.ends_with("mountinfo"));
}

#[test]
fn escapes_of_the_kernel_are_undone() {
    for (escaped, plain) in [
        ("/a\\040b", "/a b"),
        ("\\134", "\\"),
        ("/x\\04", "/x\\04"),
        ("/\\999", "/\\999"),
    ] {
        assert_eq!(unescape(escaped), PathBuf::from(plain), "{escaped}");
    }
}
