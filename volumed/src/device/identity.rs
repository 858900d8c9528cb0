//! Where the identity of a disk is read: the serial in sysfs, or the loop driver through an open descriptor.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

use super::ioctl::{self, LoopStatus};
use crate::model::{DevNum, Identity};

/// An identity cannot be told yet: the disk is coming or going. Look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReady;

/// Tells what makes a disk that disk. Injectable, because a test has no virtio disk to plug in.
pub trait IdentitySource: Send + Sync {
    /// The identity of the disk that sysfs shows in `sysfs` under the kernel name `name`; `None` where its bus has
    /// none that could be trusted. `node` and `devnum` are what sysfs says about it.
    ///
    /// # Errors
    /// [`NotReady`] while the disk is in transition.
    fn identity(
        &self,
        sysfs: &Path,
        name: &str,
        node: &Path,
        devnum: DevNum,
    ) -> Result<Option<Identity>, NotReady>;
}

/// The identities as the running kernel reports them: `serial` of virtio disks, VPD page 0x80 of SCSI disks, device
/// and inode of the file behind a loop device. Other buses have none: refuse rather than guess.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelIdentities {
    /// Whether a loop device that was set up with the name `serial:…` (`lo_file_name` of `loop_info64`) is a disk of that
    /// serial, or of none where nothing follows: for clouds whose hypervisor is this machine itself, as in tests and demonstrations.
    pub loop_serials: bool,
}

impl IdentitySource for KernelIdentities {
    fn identity(
        &self,
        sysfs: &Path,
        name: &str,
        node: &Path,
        devnum: DevNum,
    ) -> Result<Option<Identity>, NotReady> {
        match Bus::of(name) {
            // Read-only and short: a loop device that is being detached is cleared when its last opener closes.
            Bus::Loop => match open_disk(node).and_then(|fd| loop_identity(&fd, devnum, self.loop_serials)) {
                Ok(identity) => Ok(identity),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
                Err(_) => Err(NotReady),
            },
            bus => serial(sysfs, bus).map_err(|_| NotReady),
        }
    }
}

/// How a disk is attached, as far as its identity depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Virtio,
    Scsi,
    Loop,
    Other,
}

impl Bus {
    /// The bus of a disk with this kernel name. The kernel gives these prefixes to these drivers only.
    pub(super) fn of(name: &str) -> Bus {
        let numbered = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
        let lettered = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase());
        if name.strip_prefix("loop").is_some_and(numbered) {
            Bus::Loop
        } else if name.strip_prefix("vd").is_some_and(lettered) {
            Bus::Virtio
        } else if name.strip_prefix("sd").is_some_and(lettered) {
            Bus::Scsi
        } else {
            Bus::Other
        }
    }
}

/// The serial that sysfs shows for the disk in directory `sysfs`; `None` where it is empty or no text.
pub(super) fn serial(sysfs: &Path, bus: Bus) -> io::Result<Option<Identity>> {
    let bytes = match bus {
        Bus::Virtio => std::fs::read(sysfs.join("serial"))?,
        Bus::Scsi => match std::fs::read(sysfs.join("device/vpd_pg80")) {
            Ok(page) => page.get(4..).unwrap_or_default().to_vec(),
            // A SCSI disk need not have the page; a device directory that is gone is another matter.
            Err(error) if error.kind() == io::ErrorKind::NotFound && sysfs.join("device").exists() => {
                Vec::new()
            }
            Err(error) => return Err(error),
        },
        Bus::Loop | Bus::Other => return Ok(None),
    };
    Ok(serial_of_bytes(&bytes))
}

/// A serial is compared byte for byte; only padding at its end is no part of it.
pub(super) fn serial_of_bytes(bytes: &[u8]) -> Option<Identity> {
    let end = bytes
        .iter()
        .rposition(|b| !matches!(b, 0 | b' ' | b'\n' | b'\r' | b'\t'))?;
    let text = std::str::from_utf8(&bytes[..=end]).ok()?;
    Some(Identity::Serial(text.to_owned()))
}

/// Opens a disk for questions only: read-only, without waiting for a medium, never through a link.
pub(super) fn open_disk(node: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(open(node, flags, Mode::empty())?))
}

/// The identity of the loop device behind `fd`, provided that it is the device `devnum`.
fn loop_identity(fd: impl AsFd, devnum: DevNum, loop_serials: bool) -> io::Result<Option<Identity>> {
    let fd = fd.as_fd();
    if block_number(fd)? != Some(devnum) {
        return Err(Errno::NXIO.into());
    }
    let status = ioctl::loop_status(fd)?;
    let serial = loop_serial(&status).filter(|_| loop_serials);
    Ok(serial.unwrap_or_else(|| Some(loop_backing(&status))))
}

/// What is behind a loop device, as its identity.
pub(super) fn loop_backing(status: &LoopStatus) -> Identity {
    Identity::LoopBacking {
        device: status.device,
        inode: status.inode,
    }
}

/// The serial that a loop device was set up to have, which may be none; `None` where it has a common name.
pub(super) fn loop_serial(status: &LoopStatus) -> Option<Option<Identity>> {
    let name = status.name.split(|&byte| byte == 0).next()?;
    Some(serial_of_bytes(name.strip_prefix(b"serial:")?))
}

/// The number of the block device behind `fd`; `None` where it is no block device.
pub(super) fn block_number(fd: impl AsFd) -> io::Result<Option<DevNum>> {
    let stat = fstat(fd)?;
    Ok((FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice).then(|| number(stat.st_rdev)))
}

/// A device number of `stat`, taken apart.
pub(super) fn number(dev: u64) -> DevNum {
    DevNum {
        major: rustix::fs::major(dev),
        minor: rustix::fs::minor(dev),
    }
}

/// The identity that a loop device backed by `file` will have.
///
/// The driver reports `huge_encode_dev(st_dev)`, a 32-bit word of 12 bits of major and 20 bits of minor number, which
/// is also what `stat` answers for every device number the kernel can have; so the two compare as they are.
///
/// # Errors
/// Those of `fstat`.
pub fn loop_identity_of_file(file: &File) -> io::Result<Identity> {
    let meta = file.metadata()?;
    let DevNum { major, minor } = number(meta.dev());
    let device = u64::from(minor & 0xff) | u64::from(major & 0xfff) << 8 | u64::from(minor & 0xf_ff00) << 12;
    Ok(Identity::LoopBacking {
        device,
        inode: meta.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_lose_their_padding_and_nothing_else() {
        let serial = |text: &str| Some(Identity::Serial(text.to_owned()));
        assert_eq!(
            serial_of_bytes(b"5b8d4f2e1c3a4d2b9f00"),
            serial("5b8d4f2e1c3a4d2b9f00")
        );
        assert_eq!(serial_of_bytes(b" a  b \n"), serial(" a  b"));
        assert_eq!(serial_of_bytes(b"disk\0\0\0"), serial("disk"));
        assert_eq!(serial_of_bytes(b"Disk"), serial("Disk"));
        assert_eq!(serial_of_bytes(b" \n\0"), None);
        assert_eq!(serial_of_bytes(b""), None);
        assert_eq!(serial_of_bytes(b"\xff\xfe"), None);
    }

    #[test]
    fn buses_are_told_by_the_whole_name() {
        for (name, bus) in [
            ("vda", Bus::Virtio),
            ("vdab", Bus::Virtio),
            ("sdz", Bus::Scsi),
            ("loop12", Bus::Loop),
            ("loop", Bus::Other),
            ("vda1", Bus::Other),
            ("sda1", Bus::Other),
            ("nvme0n1", Bus::Other),
            ("dm-0", Bus::Other),
        ] {
            assert_eq!(Bus::of(name), bus, "{name}");
        }
    }
}
