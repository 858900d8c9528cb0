//! A tree in a temporary directory that looks like `/sys`, `/dev` and `/proc` with the disks that a test wants.

use std::path::{Path, PathBuf};

use super::root::SysRoot;

/// The tree; it vanishes when dropped.
pub(crate) struct FakeTree {
    top: tempfile::TempDir,
}

impl FakeTree {
    /// A machine without disks.
    pub(crate) fn new() -> FakeTree {
        let tree = FakeTree {
            top: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(tree.root().block_dir()).unwrap();
        std::fs::create_dir_all(tree.root().dev).unwrap();
        tree.write("proc/sys/kernel/random/boot_id", "b007\n");
        tree.write("proc/self/mountinfo", "");
        tree
    }

    pub(crate) fn root(&self) -> SysRoot {
        SysRoot::at(self.top.path())
    }

    /// Where `path` of the fake machine is.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.top.path().join(path)
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Makes the link `name` of udev, leading to the node of the disk `to`.
    pub(crate) fn link(&self, name: &str, to: &str) {
        let dir = self.path("dev/disk/by-id");
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(format!("../../{to}"), dir.join(name)).unwrap();
    }

    /// Plugs a virtio disk with a serial.
    pub(crate) fn virtio(&self, name: &str, minor: u32, serial: &str) {
        let dir = self.disk(name, &format!("254:{minor}"), u64::from(minor) + 1);
        self.write(dir.join("serial"), serial);
    }

    /// Plugs a disk of 8 sectors with this number; returns its sysfs directory, relative to the top.
    pub(crate) fn disk(&self, name: &str, devnum: &str, diskseq: u64) -> PathBuf {
        let dir = PathBuf::from("sys/block").join(name);
        let (major, minor) = devnum.split_once(':').unwrap();
        self.write(dir.join("dev"), format!("{devnum}\n"));
        self.write(dir.join("size"), "8\n");
        self.write(dir.join("ro"), "0\n");
        self.write(dir.join("diskseq"), format!("{diskseq}\n"));
        let uevent =
            format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=disk\nDISKSEQ={diskseq}\n");
        self.write(dir.join("uevent"), uevent);
        std::fs::create_dir_all(self.path(dir.join("holders"))).unwrap();
        dir
    }
}
