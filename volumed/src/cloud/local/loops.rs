//! Loop devices over our files: which there are, binding and unbinding one. Devices over other files are never opened.
//!
//! What is attached is not remembered but asked: sysfs names the bound devices whose backing file lies in a directory of
//! that volume's id, then the descriptor of each is asked for the device and inode behind it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use super::layout::{DISK, parse_ref};
use super::loop_ioctl;

/// Tries to get hold of a free device before giving up; each lost try means that somebody else got one.
const TRIES: u32 = 256;
/// After so many lost tries, free devices that cannot be claimed are suspected, and a new one is added.
const TRIES_BEFORE_ADDING: u32 = 16;

/// The file behind a device, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backing {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A bound loop device, held open (which keeps it from being rebound).
#[derive(Debug)]
pub(super) struct LoopDevice {
    pub(super) number: u32,
    file: File,
}

/// The loop devices over one file.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// Bound to stay.
    pub(super) live: Vec<LoopDevice>,
    /// Unbound as soon as the last opener closes it.
    pub(super) leaving: Vec<LoopDevice>,
}

/// The bound loop devices that may be over files of ours, by the names in sysfs.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<(u32, Uuid)>);

impl Candidates {
    /// Looks through `/sys/block`.
    pub(super) fn scan() -> io::Result<Candidates> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            let name = entry?.file_name();
            let Some(number) = name.to_str().and_then(|n| n.strip_prefix("loop")?.parse().ok()) else {
                continue;
            };
            // Absent while nothing is bound; ENODEV or the like when it is being unbound.
            let path = Path::new("/sys/block").join(&name).join("loop/backing_file");
            if let Some(volume) = fs::read(path).ok().and_then(|text| volume_of(&text)) {
                found.push((number, volume));
            }
        }
        Ok(Candidates(found))
    }

    /// The devices over exactly the file `backing` of the volume.
    pub(super) fn over(&self, volume: Uuid, backing: Backing) -> io::Result<Bound> {
        let mut bound = Bound::default();
        for &(number, _) in self.0.iter().filter(|(_, of)| *of == volume) {
            let Some(file) = open(number, OpenOptions::new().read(true))? else {
                continue;
            };
            match loop_ioctl::status(file.as_fd())? {
                Some(status) if status.number == number && is_over(&status, backing) => {
                    let side = if status.autoclear {
                        &mut bound.leaving
                    } else {
                        &mut bound.live
                    };
                    side.push(LoopDevice { number, file });
                }
                _ => {}
            }
        }
        Ok(bound)
    }
}

/// The volume whose directory holds the file that sysfs names: `…/<uuid>/disk.raw`, wherever that is mounted for us.
fn volume_of(sysfs: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(sysfs).ok()?.trim_end_matches('\n');
    let path = Path::new(text.strip_suffix(" (deleted)").unwrap_or(text));
    if path.file_name()? != DISK {
        return None;
    }
    parse_ref(path.parent()?.file_name()?.to_str()?)
}

fn is_over(status: &loop_ioctl::Status, backing: Backing) -> bool {
    status.device == backing.device && status.inode == backing.inode
}

/// `None` where the node is gone or is going.
fn open(number: u32, options: &mut OpenOptions) -> io::Result<Option<File>> {
    let opened = options
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(format!("/dev/loop{number}"));
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Binds the file to a free loop device; adds a device where none is free.
pub(super) fn bind(volume: Uuid, disk: &File) -> io::Result<LoopDevice> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    for attempt in 1..=TRIES {
        let number = if attempt.is_multiple_of(TRIES_BEFORE_ADDING) {
            loop_ioctl::add(&control)?
        } else {
            loop_ioctl::first_free(&control)?
        };
        // Bound through a read-write descriptor, or the kernel makes the device read-only.
        let writable = match open(number, OpenOptions::new().read(true).write(true)) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => continue,
            Err(e) => return Err(e),
        };
        match loop_ioctl::configure(writable.as_fd(), disk.as_fd(), &format!("volumed:{volume}")) {
            Ok(()) => {
                return Ok(LoopDevice {
                    number,
                    file: writable,
                });
            }
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("lost every one of {TRIES} free loop devices to somebody else"),
    ))
}

impl LoopDevice {
    /// Writes back what the kernel holds for the device.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Lets the kernel take the size of the backing file.
    pub(super) fn take_capacity(&self) -> io::Result<()> {
        // Without CAP_SYS_ADMIN the kernel wants a descriptor that may write (`lo_ioctl` of drivers/block/loop.c). The number
        // stays this device's for as long as `file` is open.
        let writable = open(self.number, OpenOptions::new().read(true).write(true))?;
        let writable = writable.ok_or(io::ErrorKind::NotFound)?;
        loop_ioctl::take_capacity(writable.as_fd())
    }

    /// Unbinds it, at once or when its last opener closes it. Unbound already: success.
    pub(super) fn unbind(self) -> io::Result<()> {
        match loop_ioctl::clear(self.file.as_fd()) {
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(()),
            other => other,
        }
    }
}

impl Bound {
    /// Every device over the file.
    pub(super) fn all(&self) -> impl Iterator<Item = &LoopDevice> {
        self.live.iter().chain(&self.leaving)
    }

    /// Their names, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.all().map(|l| format!("/dev/loop{}", l.number)).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_of_volumes_are_recognised() {
        let id = "0190a3a4-5c1e-8d3f-9a2b-1c2d3e4f5a6b";
        let is = |text: &str| volume_of(text.as_bytes()).map(|v| v.to_string());
        assert_eq!(
            is(&format!("/srv/v/volumes/{id}/disk.raw\n")).as_deref(),
            Some(id)
        );
        assert_eq!(
            is(&format!("/other/mount/{id}/disk.raw (deleted)\n")).as_deref(),
            Some(id)
        );
        assert_eq!(is(&format!("/srv/v/volumes/{id}/disk.raw.new\n")), None);
        assert_eq!(is("/srv/foreign.img\n"), None);
        assert_eq!(is("/disk.raw\n"), None);
        assert_eq!(is(&format!("/srv/{}/disk.raw\n", id.to_uppercase())), None);
    }
}
