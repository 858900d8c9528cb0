//! The hypervisor whose guest is this machine: a disk that is plugged in is a loop device that carries the serial.
//!
//! The serial stands in the device's name field, as `serial:<serial>`; `volumed` reads it there when it is told to
//! (`devices.loop_serials`). An unplug clears the device; while anybody has it open, the kernel waits for the last
//! opener, and so does the unplug, up to its patience: what goes later goes as from a guest that is late.
//!
//! Devices of other people are never opened: sysfs must show our file first, and the open device the same inode and name.

mod ioctl;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Disk, Hypervisor, HypervisorError};

/// Between two looks at a device that is going.
const PAUSE: Duration = Duration::from_millis(5);
/// Tries to get hold of a free device before giving up; each lost try means that somebody else got one.
const TRIES: u32 = 256;
/// How long a disk that is going may keep the same image from being plugged in again.
const GOING: Duration = Duration::from_secs(5);

/// When an unplug is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplug {
    /// When the device is gone; a device that is held open times out.
    Awaited,
    /// When the kernel was told to clear the device. A daemon that keeps a device open until the cloud has let go of
    /// the volume would wait for ever otherwise: unlike a virtio disk, a loop device does not go while it is open.
    Lazy,
}

/// Loop devices of this machine as the disks of a VM. Clears what it has plugged in when it is dropped.
#[derive(Debug)]
pub struct LoopHypervisor {
    unplug: Unplug,
    slots: Mutex<Vec<Slot>>,
}

/// A disk and the device that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    disk: Disk,
    number: u32,
    inode: u64,
    /// Whether the kernel was told to clear it.
    is_going: bool,
}

impl LoopHypervisor {
    /// A hypervisor without a disk.
    #[must_use]
    pub fn new(unplug: Unplug) -> Self {
        Self {
            unplug,
            slots: Mutex::default(),
        }
    }

    /// The device node of a disk that is plugged in.
    #[must_use]
    pub fn node(&self, disk: &Disk) -> Option<String> {
        self.slot(disk).filter(Slot::is_there).map(|slot| slot.node())
    }

    fn slot(&self, disk: &Disk) -> Option<Slot> {
        self.slots.lock().iter().find(|slot| slot.disk == *disk).cloned()
    }

    /// Forgets the devices that are gone.
    fn look(&self) -> Vec<Slot> {
        let mut slots = self.slots.lock();
        slots.retain(Slot::is_there);
        slots.clone()
    }

    async fn gone(&self, disk: &Disk, patience: Duration) -> bool {
        let began = Instant::now();
        while self.look().iter().any(|slot| slot.disk == *disk) {
            if began.elapsed() >= patience {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
    }
}

#[async_trait]
impl Hypervisor for LoopHypervisor {
    async fn plug(&self, disk: &Disk) -> Result<(), HypervisorError> {
        let same = self.look().into_iter().find(|slot| slot.disk.image == disk.image);
        if let Some(slot) = same {
            let is_leaving = self.unplug == Unplug::Lazy && slot.is_going;
            if !is_leaving || !self.gone(&slot.disk, GOING).await {
                return Err(HypervisorError::Refused(format!(
                    "{} is plugged in already",
                    disk.image.display()
                )));
            }
        }
        let to_bind = disk.clone();
        let bound = tokio::task::spawn_blocking(move || bind(to_bind))
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e)));
        let slot = bound.map_err(|error| refused(disk, &error))?;
        self.slots.lock().push(slot);
        Ok(())
    }

    async fn unplug(&self, disk: &Disk, patience: Duration) -> Result<(), HypervisorError> {
        let slot = self
            .look()
            .into_iter()
            .find(|slot| slot.disk == *disk)
            .ok_or(HypervisorError::NotPlugged)?;
        slot.clear().map_err(|error| refused(disk, &error))?;
        for known in self
            .slots
            .lock()
            .iter_mut()
            .filter(|known| known.number == slot.number)
        {
            known.is_going = true;
        }
        if self.unplug == Unplug::Lazy || self.gone(disk, patience).await {
            return Ok(());
        }
        Err(HypervisorError::TimedOut(patience))
    }

    async fn grown(&self, disk: &Disk) -> Result<(), HypervisorError> {
        let slot = self.slot(disk).ok_or(HypervisorError::NotPlugged)?;
        let device = slot
            .open()
            .map_err(|error| refused(disk, &error))?
            .ok_or(HypervisorError::NotPlugged)?;
        ioctl::take_capacity(&device).map_err(|error| refused(disk, &error))
    }

    async fn plugged(&self) -> Vec<Disk> {
        let is_lazy = self.unplug == Unplug::Lazy;
        self.look()
            .into_iter()
            .filter(|slot| !(is_lazy && slot.is_going))
            .map(|slot| slot.disk)
            .collect()
    }
}

impl Drop for LoopHypervisor {
    fn drop(&mut self) {
        for slot in self.look() {
            // One that is gone by now is as good.
            let _ = slot.clear();
        }
    }
}

impl Slot {
    fn node(&self) -> String {
        format!("/dev/loop{}", self.number)
    }

    /// Whether sysfs still shows our file behind the device.
    fn is_there(&self) -> bool {
        let shown = fs::read_to_string(format!("/sys/block/loop{}/loop/backing_file", self.number));
        shown.is_ok_and(|text| {
            let text = text.trim_end_matches('\n');
            Path::new(text.strip_suffix(" (deleted)").unwrap_or(text)) == self.disk.image
        })
    }

    /// The device, open; `None` where it is no longer ours.
    fn open(&self) -> io::Result<Option<File>> {
        if !self.is_there() {
            return Ok(None);
        }
        let device = match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.node())
        {
            Ok(device) => device,
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_ours = ioctl::is_bound(&device, &name(&self.disk), self.inode)?;
        Ok(is_ours.then_some(device))
    }

    fn clear(&self) -> io::Result<()> {
        let Some(device) = self.open()? else { return Ok(()) };
        match ioctl::clear(&device) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
            other => other,
        }
    }
}

fn name(disk: &Disk) -> String {
    format!("serial:{}", disk.serial)
}

fn refused(disk: &Disk, error: &io::Error) -> HypervisorError {
    HypervisorError::Refused(format!("internal error: {}: {error}", disk.image.display()))
}

/// Binds the image to a free loop device.
fn bind(disk: Disk) -> io::Result<Slot> {
    let backing = OpenOptions::new().read(true).write(true).open(&disk.image)?;
    let inode = backing.metadata()?.ino();
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    for _ in 0..TRIES {
        let number = ioctl::first_free(&control)?;
        // Through a read-write descriptor, or the kernel makes the device read-only.
        let device = match OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/dev/loop{number}"))
        {
            Ok(device) => device,
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::ENXIO | libc::ENOENT)
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        match ioctl::configure(&device, &backing, &name(&disk)) {
            Ok(()) => {
                return Ok(Slot {
                    disk,
                    number,
                    inode,
                    is_going: false,
                });
            }
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "lost every free loop device to somebody else",
    ))
}
