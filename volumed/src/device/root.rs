//! Where the kernel shows itself (`/sys`, `/dev`, `/proc`) and udevd too (`/run`), or a tree that stands in for them in tests.

use std::path::{Path, PathBuf};

use crate::model::DevNum;

/// The roots of the kernel's file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysRoot {
    /// Where sysfs is mounted.
    pub sys: PathBuf,
    /// Where devtmpfs is mounted.
    pub dev: PathBuf,
    /// Where procfs is mounted.
    pub proc: PathBuf,
    /// Where programs keep what does not outlive a boot; udevd has its socket there.
    pub run: PathBuf,
}

impl Default for SysRoot {
    fn default() -> Self {
        SysRoot::at(Path::new("/"))
    }
}

impl SysRoot {
    /// The file systems below `top`; `/` is the real machine.
    #[must_use]
    pub fn at(top: &Path) -> SysRoot {
        SysRoot {
            sys: top.join("sys"),
            dev: top.join("dev"),
            proc: top.join("proc"),
            run: top.join("run"),
        }
    }

    /// The directory that lists the whole disks.
    #[must_use]
    pub fn block_dir(&self) -> PathBuf {
        self.sys.join("block")
    }

    /// The sysfs directory of whatever block device has this number now.
    #[must_use]
    pub fn by_number(&self, devnum: DevNum) -> PathBuf {
        self.sys.join("dev/block").join(devnum.to_string())
    }

    /// What makes the PCI bus look for devices when `1` is written to it.
    pub(super) fn pci_rescan(&self) -> PathBuf {
        self.sys.join("bus/pci/rescan")
    }

    /// The socket on which udevd takes commands, where one runs.
    pub(super) fn udevd_socket(&self) -> PathBuf {
        self.run.join("udev/control")
    }

    /// The number of the last uevent that the kernel has sent.
    pub(super) fn uevent_seqnum(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.sys.join("kernel/uevent_seqnum")).ok()?;
        text.trim().parse().ok()
    }
}

/// Has the PCI bus look for devices that it was not told of, as where the hot-plug driver missed an event. Finding nothing
/// changes nothing; repeating it is harmless.
///
/// # Errors
/// Where there is no such bus, or sysfs is not ours to write.
pub fn rescan_pci(root: &SysRoot) -> std::io::Result<()> {
    std::fs::write(root.pci_rescan(), "1")
}
