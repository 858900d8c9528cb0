//! Open, then ask the open thing: whether a descriptor is the very device that the daemon verified.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};

use super::{ClientError, DeviceMismatch, ioctl, scsi};
use crate::types::{LeaseAccess, VolumeDevice};

/// The loop driver's major number.
const LOOP_MAJOR: u32 = 7;
/// How the daemon writes an identity that is a serial.
const SERIAL: &str = "serial:";
/// How the daemon writes an identity that is nothing but one plug-in: boot and `diskseq`.
const APPEARED: &str = "appeared:";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Opens the device exclusively and proves it; blocking. Nothing is read from it or written to it.
pub(super) fn open_proven(device: &VolumeDevice, access: LeaseAccess) -> Result<File, ClientError> {
    let path = Path::new(&device.device_path);
    let access = match access {
        LeaseAccess::Read => OFlags::RDONLY,
        LeaseAccess::Write => OFlags::RDWR,
    };
    // Exclusive on a block device: refused while it is mounted, held, or opened exclusively by somebody else.
    let flags = access | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let source = io::Error::from(errno);
        let path = path.to_owned();
        if errno == rustix::io::Errno::BUSY {
            ClientError::DeviceBusy { path, source }
        } else {
            let what = "open";
            ClientError::DeviceIo { what, path, source }
        }
    })?;
    let file = File::from(file);
    prove(&file, device)?;
    // Not blocking was for opening only (a pipe in the device's place must not hold us up); left on, io_uring
    // would answer EAGAIN.
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(|errno| ClientError::DeviceIo {
        what: "prepare",
        path: path.to_owned(),
        source: errno.into(),
    })?;
    Ok(file)
}

/// Proves through the descriptor that it is the device; blocking.
pub(super) fn prove(file: &File, device: &VolumeDevice) -> Result<(), ClientError> {
    let path = Path::new(&device.device_path);
    Proof { path, file, device }.check()
}

struct Proof<'a> {
    path: &'a Path,
    file: &'a File,
    device: &'a VolumeDevice,
}

impl Proof<'_> {
    fn check(&self) -> Result<(), ClientError> {
        let stat = fstat(self.file).map_err(|e| self.io("ask for the type of", e.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::BlockDevice {
            return Err(self.differs("type", "a block device".to_owned(), format!("{kind:?}")));
        }
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        self.compare("device number", &self.device.devnum, format!("{major}:{minor}"))?;

        let boot = fs::read_to_string(BOOT_ID).map_err(|e| self.io("ask for the boot of", e))?;
        self.compare("boot", &self.device.boot_id, boot.trim().to_owned())?;
        // Kernels before 5.15 have none; the daemon then names none.
        if let Some(expected) = self.device.diskseq {
            let found = ioctl::diskseq(self.file).map_err(|e| self.io("ask for the diskseq of", e))?;
            self.compare("diskseq", &expected.to_string(), found.to_string())?;
        }
        let size = ioctl::size_bytes(self.file).map_err(|e| self.io("ask for the size of", e))?;
        self.compare("size", &self.device.size_bytes.to_string(), size.to_string())?;

        let identity = identity(self.file, major, minor, self.device)
            .map_err(|e| self.io("ask for the identity of", e))?;
        self.compare("identity", &self.device.identity, identity)
    }

    fn compare(&self, what: &'static str, expected: &str, found: String) -> Result<(), ClientError> {
        if expected == found {
            return Ok(());
        }
        Err(self.differs(what, expected.to_owned(), found))
    }

    fn differs(&self, what: &'static str, expected: String, found: String) -> ClientError {
        ClientError::DeviceMismatch(Box::new(DeviceMismatch {
            path: self.path.to_owned(),
            what,
            expected,
            found,
        }))
    }

    fn io(&self, what: &'static str, source: io::Error) -> ClientError {
        ClientError::DeviceIo {
            what,
            path: self.path.to_owned(),
            source,
        }
    }
}

/// The identity as the daemon writes it. The number that leads into sysfs cannot be given to another disk while
/// the descriptor is open.
fn identity(file: &File, major: u32, minor: u32, device: &VolumeDevice) -> io::Result<String> {
    // A disk that carries nothing is told by its plug-in, of which boot and number were compared before.
    let plug_in = match device.diskseq {
        Some(diskseq) => format!("{APPEARED}{}:{diskseq}", device.boot_id),
        None => String::new(),
    };
    let expects_plug_in = device.identity.starts_with(APPEARED);
    if major == LOOP_MAJOR {
        let backing = ioctl::loop_backing(file)?;
        // A daemon that takes loop devices for disks with serials (its setting `devices.loop_serials`) says so.
        let name = backing.name.split(|&byte| byte == 0).next().unwrap_or_default();
        if expects_plug_in && name == SERIAL.as_bytes() {
            return Ok(plug_in);
        }
        if device.identity.starts_with(SERIAL) && name.starts_with(SERIAL.as_bytes()) {
            return text(name);
        }
        return Ok(format!("loop:{}:{}", backing.device, backing.inode));
    }
    let sysfs = format!("/sys/dev/block/{major}:{minor}");
    let shown = serial(Path::new(&sysfs));
    if Path::new(&sysfs).join("device/vpd_pg80").exists() {
        let told = scsi::serial(file)?.unwrap_or_default();
        let told = text(told.trim_ascii())?;
        if shown.as_ref().is_ok_and(|shown| *shown != told) {
            return Ok(format!("{SERIAL}{told}"));
        }
    }
    match shown {
        Ok(serial) if !serial.trim().is_empty() => Ok(format!("{SERIAL}{serial}")),
        Ok(_) if expects_plug_in => Ok(plug_in),
        Err(error) if expects_plug_in && error.kind() == io::ErrorKind::NotFound => Ok(plug_in),
        Ok(serial) => Ok(format!("{SERIAL}{serial}")),
        Err(error) => Err(error),
    }
}

/// The serial in the place where the driver keeps it: virtio-blk, SCSI (VPD page 0x80), NVMe.
fn serial(device: &Path) -> io::Result<String> {
    if let Some(bytes) = read_if_there(&device.join("serial"))? {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        return text(bytes);
    }
    if let Some(page) = read_if_there(&device.join("device/vpd_pg80"))? {
        return text(page.get(4..).unwrap_or_default().trim_ascii());
    }
    match read_if_there(&device.join("device/serial"))? {
        Some(bytes) => text(bytes.trim_ascii()),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the kernel shows no serial for it",
        )),
    }
}

fn text(bytes: &[u8]) -> io::Result<String> {
    let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "its serial is no text");
    String::from_utf8(bytes.to_vec()).map_err(bad)
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_read_where_its_driver_keeps_it() {
        let sys = tempfile::tempdir().unwrap();
        let disk = |name: &str, file: &str, bytes: &[u8]| {
            let dir = sys.path().join(name);
            fs::create_dir_all(dir.join("device")).unwrap();
            fs::write(dir.join(file), bytes).unwrap();
            serial(&dir)
        };
        assert_eq!(
            disk("vda", "serial", b"5b8d4f2e1c3a4d2b9f00").unwrap(),
            "5b8d4f2e1c3a4d2b9f00"
        );
        assert_eq!(
            disk("sda", "device/vpd_pg80", b"\0\x80\0\x06abc 12  ").unwrap(),
            "abc 12"
        );
        assert_eq!(disk("nvme0n1", "device/serial", b"S123   \n").unwrap(), "S123");
        assert!(disk("x", "other", b"").is_err());
        assert!(disk("y", "serial", b"\xff").is_err());
    }
}
