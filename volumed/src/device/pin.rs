//! The pin: a descriptor that was proven to be the expected disk, kept open so that its name cannot change hands.
//!
//! Checking a path and using it later is a race; here the disk is opened first, and everything is asked of the open
//! descriptor. While it is held, read-only and not exclusive, the kernel gives the name and the device number to no
//! other disk. It blocks nothing: mkfs, mount, partitioning, unplug and resize go on.
//!
//! A loop device is cleared only when its last opener closes: after `LOOP_CLR_FD` the pin must be dropped before the
//! device can go. A virtio or SCSI disk goes while pinned; there the pin is dropped last.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::correlator::Expectation;
use super::disk::Disk;
use super::identity::{self, Bus};
use super::ioctl;
use super::root::SysRoot;
use super::scsi;
use crate::model::{Bytes, DevNum, Identity};

/// Why a disk is not, or no longer, the expected one. One variant per decision.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The disk has been unplugged or detached, or its node has vanished.
    #[error("{node} is gone", node = node.display())]
    Gone {
        /// The node.
        node: PathBuf,
    },
    /// The node is a link, a file or a character device.
    #[error("{node} is no block device", node = node.display())]
    NotBlock {
        /// The node.
        node: PathBuf,
    },
    /// The node names another device than the one that was found.
    #[error("{node} names another device: expected {expected}, found {found}", node = node.display())]
    WrongDevice {
        /// The node.
        node: PathBuf,
        /// Kernel name and number, or node, expected.
        expected: String,
        /// The same, as found.
        found: String,
    },
    /// The same number, but another plug-in: the name was recycled.
    #[error("{node} is another incarnation: expected diskseq {expected:?}, found {found:?}", node = node.display())]
    WrongIncarnation {
        /// The node.
        node: PathBuf,
        /// `diskseq` expected.
        expected: Option<u64>,
        /// `diskseq` found.
        found: Option<u64>,
    },
    /// Another disk, or one that cannot prove which it is.
    #[error("{node} is another disk: expected {expected}, found {}", found_text(found.as_ref()), node = node.display())]
    WrongIdentity {
        /// The node.
        node: PathBuf,
        /// Identity expected.
        expected: Identity,
        /// Identity found; `None` where there is none, or where a loop device shows only a part of its file.
        found: Option<Identity>,
    },
    /// The right disk with another size.
    #[error("{node} has {found}, expected {expected}", node = node.display())]
    WrongSize {
        /// The node.
        node: PathBuf,
        /// Size expected.
        expected: Bytes,
        /// Size found.
        found: Bytes,
    },
    /// The right disk, but it takes no writes.
    #[error("{node} is read-only", node = node.display())]
    ReadOnly {
        /// The node.
        node: PathBuf,
    },
    /// The kernel did not answer; nothing is known.
    #[error("{action} {node}", node = node.display())]
    Io {
        /// What was asked.
        action: &'static str,
        /// The node.
        node: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn found_text(found: Option<&Identity>) -> String {
    found.map_or_else(|| "none".to_owned(), Identity::to_string)
}

/// What the kernel said about a pinned disk in one verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The path that named the disk at that time, and does while it is pinned.
    pub path: PathBuf,
    /// Its device number.
    pub devnum: DevNum,
    /// Its incarnation; `None` before Linux 5.15.
    pub diskseq: Option<u64>,
    /// Its size.
    pub size: Bytes,
    /// Its identity.
    pub identity: Identity,
}

/// A verified disk, held open. Dropping it lets the name go.
#[derive(Debug)]
pub struct Pin {
    file: File,
    name: String,
    node: PathBuf,
    devnum: DevNum,
    diskseq: Option<u64>,
    root: SysRoot,
}

/// Opens `disk` and proves through the open descriptor that it is what is expected. Blocks for some ioctls.
///
/// Repeating it gives a second, independent pin. A crash drops the pin; the disk is found and verified anew.
///
/// # Errors
/// [`PinError`]; nothing stays open then.
pub fn open_verified(disk: &Disk, expected: &Expectation) -> Result<Pin, PinError> {
    let pin = Pin {
        file: open_node(&disk.node)?,
        name: disk.name.clone(),
        node: disk.node.clone(),
        devnum: disk.devnum,
        diskseq: disk.diskseq,
        root: SysRoot::default(),
    };
    pin.verify(expected)?;
    Ok(pin)
}

impl Pin {
    /// Asks the kernel again, through the held descriptor and by the path, whether this is the expected disk and the
    /// path still names it. Trusts nothing that was seen before. Blocks for some ioctls.
    ///
    /// # Errors
    /// [`PinError`]; the pin stays held.
    pub fn verify(&self, expected: &Expectation) -> Result<Observed, PinError> {
        self.check_device(&self.file)?;
        let identity = self.check_identity(expected)?;
        let size = self.check_size(expected.size)?;
        self.check_sysfs()?;
        self.check_path()?;
        Ok(Observed {
            path: self.node.clone(),
            devnum: self.devnum,
            diskseq: self.diskseq,
            size,
            identity,
        })
    }

    /// Writes out what the kernel still holds back for this disk, and tells of write errors since the pin was taken.
    /// Blocks for as long as the disk needs.
    ///
    /// # Errors
    /// [`PinError::Io`]: data may not be on the disk. Asking again does not make it so.
    pub fn flush(&self) -> Result<(), PinError> {
        self.file
            .sync_all()
            .map_err(|source| self.failed("flushing", source))
    }

    /// Number of the pinned disk.
    #[must_use]
    pub fn devnum(&self) -> DevNum {
        self.devnum
    }

    /// Incarnation of the pinned disk; `None` before Linux 5.15.
    #[must_use]
    pub fn diskseq(&self) -> Option<u64> {
        self.diskseq
    }

    /// Node of the pinned disk.
    #[must_use]
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// That `file` is the block device, and the incarnation of it, that was pinned.
    fn check_device(&self, file: &File) -> Result<(), PinError> {
        match identity::block_number(file).map_err(|source| self.failed("asking for the type of", source))? {
            None => {
                return Err(PinError::NotBlock {
                    node: self.node.clone(),
                });
            }
            Some(devnum) if devnum != self.devnum => return Err(self.wrong_device(&self.devnum, &devnum)),
            Some(_) => {}
        }
        let diskseq =
            ioctl::diskseq(file).map_err(|source| self.failed("asking for the diskseq of", source))?;
        self.same_incarnation(diskseq)
    }

    /// That the descriptor has the expected identity, and shows the whole of it.
    fn check_identity(&self, expected: &Expectation) -> Result<Identity, PinError> {
        let found = match Bus::of(&self.name) {
            Bus::Loop => {
                let status = ioctl::loop_status(&self.file)
                    .map_err(|source| self.failed("asking for the file behind", source))?;
                // Only where the scan takes serials of loop devices is one ever expected.
                let named = identity::loop_serial(&status);
                let identity = match (&expected.identity, named) {
                    (Identity::Serial(_) | Identity::Appeared(_), Some(serial)) => serial,
                    _ => Some(identity::loop_backing(&status)),
                };
                identity.filter(|_| status.offset == 0)
            }
            bus => {
                let shown = identity::serial(&self.root.by_number(self.devnum), bus)
                    .map_err(|source| self.failed("reading the serial of", source))?;
                match bus {
                    Bus::Scsi if shown.as_ref() == Some(&expected.identity) => self.told_by_scsi_disk()?,
                    _ => shown,
                }
            }
        };
        match found {
            Some(identity) if identity == expected.identity && expected.is_usable() => Ok(identity),
            None if self.is_plug_in(&expected.identity) => Ok(expected.identity.clone()),
            found => Err(PinError::WrongIdentity {
                node: self.node.clone(),
                expected: expected.identity.clone(),
                found,
            }),
        }
    }

    /// What the disk itself says it is: the kernel may not have noticed yet that another one has its address.
    fn told_by_scsi_disk(&self) -> Result<Option<Identity>, PinError> {
        let told =
            scsi::serial(&self.file).map_err(|source| self.failed("asking for the serial of", source))?;
        Ok(identity::serial_of_bytes(&told.unwrap_or_default()))
    }

    /// Whether the identity is of the very plug-in that is pinned. Boots are not compared: a pin never outlives one.
    fn is_plug_in(&self, identity: &Identity) -> bool {
        matches!(identity, Identity::Appeared(plug_in) if Some(plug_in.diskseq) == self.diskseq)
    }

    fn check_size(&self, expected: Bytes) -> Result<Bytes, PinError> {
        let found =
            ioctl::size(&self.file).map_err(|source| self.failed("asking for the size of", source))?;
        if found == Bytes(0) {
            // An unplugged disk answers zero, and reads from it end at once instead of failing.
            return Err(PinError::Gone {
                node: self.node.clone(),
            });
        }
        if found != expected {
            return Err(PinError::WrongSize {
                node: self.node.clone(),
                expected,
                found,
            });
        }
        if ioctl::read_only(&self.file).map_err(|source| self.failed("asking for the mode of", source))? {
            return Err(PinError::ReadOnly {
                node: self.node.clone(),
            });
        }
        Ok(found)
    }

    /// That sysfs shows the same disk under this number. Asked after the serial: while we hold the number it can
    /// vanish from sysfs, but not come back as another disk, so the serial was this incarnation's.
    fn check_sysfs(&self) -> Result<(), PinError> {
        let dir = self.root.by_number(self.devnum);
        let uevent = std::fs::read_to_string(dir.join("uevent"))
            .map_err(|source| self.failed("reading sysfs of", source))?;
        let property = |key: &str| {
            uevent
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        if property("DEVTYPE") != Some("disk") {
            return Err(self.wrong_device(&"a whole disk", &property("DEVTYPE").unwrap_or("nothing")));
        }
        let node = property("DEVNAME")
            .map(|name| self.root.dev.join(name))
            .unwrap_or_default();
        if node != self.node {
            return Err(self.wrong_device(&self.node.display(), &node.display()));
        }
        let name = std::fs::canonicalize(&dir).map_err(|source| self.failed("reading sysfs of", source))?;
        if name.file_name().and_then(|name| name.to_str()) != Some(&self.name) {
            return Err(self.wrong_device(&self.name, &name.display()));
        }
        self.same_incarnation(property("DISKSEQ").and_then(|seq| seq.parse().ok()))
    }

    /// That the path names the pinned disk, by its number and by asking what opens there.
    fn check_path(&self) -> Result<(), PinError> {
        let meta =
            std::fs::symlink_metadata(&self.node).map_err(|source| self.failed("looking at", source))?;
        if !meta.file_type().is_block_device() {
            return Err(PinError::NotBlock {
                node: self.node.clone(),
            });
        }
        let found = identity::number(meta.rdev());
        if found != self.devnum {
            return Err(self.wrong_device(&self.devnum, &found));
        }
        self.check_device(&open_node(&self.node)?)
    }

    fn same_incarnation(&self, found: Option<u64>) -> Result<(), PinError> {
        if found == self.diskseq {
            return Ok(());
        }
        Err(PinError::WrongIncarnation {
            node: self.node.clone(),
            expected: self.diskseq,
            found,
        })
    }

    fn wrong_device(&self, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display) -> PinError {
        PinError::WrongDevice {
            node: self.node.clone(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> PinError {
        io_error(action, &self.node, source)
    }
}

impl AsFd for Pin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open_node(node: &Path) -> Result<File, PinError> {
    identity::open_disk(node).map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::LOOP) => PinError::NotBlock {
            node: node.to_owned(),
        },
        _ => io_error("opening", node, source),
    })
}

fn io_error(action: &'static str, node: &Path, source: io::Error) -> PinError {
    let node = node.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV) => PinError::Gone { node },
        _ => PinError::Io { action, node, source },
    }
}
