//! What a fuzzer does with the kernel's texts, and what must hold of whatever is believed.

use std::path::{Path, PathBuf};

use super::identity::serial_of_bytes;
use super::root::SysRoot;
use super::scan::scan_with;
use super::usage::{Usage, parses_as_mount};
use super::{Inventory, KernelIdentities, scsi};
use crate::model::Identity;

/// A serial, and the page that a SCSI disk answers with.
pub(crate) fn serial(bytes: &[u8]) {
    if let Some(Identity::Serial(serial)) = serial_of_bytes(bytes) {
        assert!(bytes.starts_with(serial.as_bytes()), "no byte of it is made up");
        assert!(!serial.ends_with([' ', '\n', '\0']), "{serial:?}");
        assert_eq!(
            serial_of_bytes(serial.as_bytes()),
            Some(Identity::Serial(serial.clone())),
            "{serial:?}"
        );
    }
    if let Some(serial) = scsi::page_serial(bytes) {
        let stated = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!((serial.len(), bytes[1]), (stated, 0x80));
    }
}

/// `mountinfo` and `swaps`: whatever is in them, a reading comes to an end.
pub(crate) fn mounts(bytes: &[u8]) {
    let tree = Tree::with(&[("proc/self/mountinfo", bytes), ("proc/swaps", bytes)]);
    let inventory = Inventory {
        boot_id: "b".to_owned(),
        generation: 0,
        disks: Vec::new(),
        unsettled: Vec::new(),
        disputed: std::collections::BTreeSet::new(),
    };
    let usage = Usage::collect(&tree.root(), &inventory).expect("the files can be read");
    assert_eq!(usage, Usage::default(), "there is no disk that could be in use");
    for line in String::from_utf8_lossy(bytes).lines() {
        let _ = parses_as_mount(line);
    }
}

/// One disk in sysfs; its attributes are parts of the bytes, divided by zero bytes.
pub(crate) fn sysfs(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let names = ["uevent", "size", "dev", "diskseq", "ro", "serial", "hidden"];
    let files: Vec<_> = names
        .iter()
        .map(|name| (format!("sys/block/vda/{name}"), parts.next().unwrap_or_default()))
        .collect();
    let mut all: Vec<(&str, &[u8])> = files.iter().map(|(path, part)| (path.as_str(), *part)).collect();
    all.push(("proc/sys/kernel/random/boot_id", b"b007\n"));
    let tree = Tree::with(&all);
    let inventory = scan_with(&tree.root(), &KernelIdentities::default(), 1).expect("the list can be read");
    assert!(inventory.disks.len() <= 1);
    for disk in &inventory.disks {
        assert_eq!(disk.name, "vda");
        if let Some(Identity::Serial(serial)) = &disk.identity {
            assert!(String::from_utf8_lossy(files[5].1).starts_with(serial.as_str()));
        }
    }
}

/// A tree that looks like the kernel's, in place of the one before it.
struct Tree(PathBuf);

impl Tree {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let top = std::env::temp_dir().join(format!("kernel-{}", std::process::id()));
        let tree = Self(top);
        tree.write("sys/block/.keep", b"");
        for (path, content) in files {
            tree.write(path, content);
        }
        let _ = std::fs::remove_file(tree.0.join("sys/block/.keep"));
        tree
    }

    fn root(&self) -> SysRoot {
        SysRoot::at(&self.0)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).expect("a folder for a file");
        std::fs::write(path, content).expect("a file can be written");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
