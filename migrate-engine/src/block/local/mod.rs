//! A local disk - block device or regular file - behind a descriptor that the caller opened and verified.
//!
//! The descriptor is the identity: it is reopened only through `/proc/self/fd`, to get one handle with `O_DIRECT`
//! and one without, and what was reopened is checked to be the same inode or device number. Never by path, and
//! never exclusively, because the given descriptor may hold the device exclusively itself.
//!
//! Bytes move by direct I/O where the disk allows it. Only edges that direct I/O cannot express (a last granule
//! that is shorter than the alignment) go through the page cache; no aligned page is ever touched both ways.

mod kernel;
mod read;
mod ring;
mod write;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};

use super::{
    BlockError, BlockRead, BlockWrite, Cancel, Durability, ExtentKnowledge, InitialContent, ReadWorker,
    WriteWorker,
};

const SMALLEST_ALIGNMENT: u64 = 4096;
const LARGEST_ALIGNMENT: u64 = 64 << 10;

/// What the caller knows about a local disk.
#[derive(Debug, Clone, Copy)]
pub struct LocalDiskOptions {
    /// What the disk holds before the first write.
    pub initial_content: InitialContent,
    /// How many workers may use it at once.
    pub max_workers: usize,
}

/// A local block device or regular file.
#[derive(Debug, Clone)]
pub struct LocalDisk {
    shared: Arc<Shared>,
    options: LocalDiskOptions,
}

/// What all workers of one disk use together; positioned I/O needs no handle of one's own.
#[derive(Debug)]
struct Shared {
    /// Through the page cache.
    buffered: OwnedFd,
    /// Past the page cache, where the disk can.
    direct: Option<OwnedFd>,
    /// Kept because the caller may have opened it exclusively.
    _given: OwnedFd,
    kind: Kind,
    size: u64,
    /// Granule of the pool, of planning and of direct writes.
    alignment: u64,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Device,
    File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    ReadWrite,
}

impl Default for LocalDiskOptions {
    fn default() -> Self {
        Self {
            initial_content: InitialContent::Unknown,
            max_workers: 16,
        }
    }
}

impl LocalDisk {
    /// Takes over a descriptor opened for reading, or for reading and writing; a file keeps its present size.
    pub fn new(given: OwnedFd, options: LocalDiskOptions) -> Result<Self, BlockError> {
        let system = |action| {
            move |source: rustix::io::Errno| BlockError::System {
                action,
                source: source.into(),
            }
        };
        let stat = rustix::fs::fstat(&given).map_err(system("look at the disk"))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => Kind::Device,
            FileType::RegularFile => Kind::File,
            _ => return Err(BlockError::NotADisk),
        };
        let flags = rustix::fs::fcntl_getfl(&given).map_err(system("ask how the disk was opened"))?;
        let access = match flags & OFlags::RWMODE {
            OFlags::RDWR => Access::ReadWrite,
            OFlags::RDONLY => Access::ReadOnly,
            _ => {
                return Err(BlockError::System {
                    action: "use a disk opened for writing only",
                    source: std::io::ErrorKind::InvalidInput.into(),
                });
            }
        };
        let size = match kind {
            Kind::Device => {
                kernel::device_size(given.as_fd()).map_err(system("ask the device for its size"))?
            }
            Kind::File => u64::try_from(stat.st_size).unwrap_or(0),
        };
        let buffered = reopen(&given, flags & OFlags::RWMODE)?.ok_or(BlockError::System {
            action: "reopen the disk",
            source: std::io::ErrorKind::InvalidInput.into(),
        })?;
        let direct = reopen(&given, (flags & OFlags::RWMODE) | OFlags::DIRECT)?;
        let alignment =
            alignment(given.as_fd(), kind).map_err(system("ask the device for its block sizes"))?;
        let shared = Shared {
            buffered,
            direct,
            _given: given,
            kind,
            size,
            alignment,
            access,
        };
        Ok(Self {
            shared: Arc::new(shared),
            options,
        })
    }

    /// Whether bytes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.shared.direct.is_some()
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.shared.size
    }
}

/// Opens the same disk once more; `None` where it cannot be opened this way (no direct I/O here).
fn reopen(given: &OwnedFd, flags: OFlags) -> Result<Option<OwnedFd>, BlockError> {
    let path = format!("/proc/self/fd/{}", given.as_raw_fd());
    let failed = |source: rustix::io::Errno| BlockError::System {
        action: "reopen the disk",
        source: source.into(),
    };
    let again = match rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()) {
        Ok(again) => again,
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let (before, after) = (
        rustix::fs::fstat(given).map_err(failed)?,
        rustix::fs::fstat(&again).map_err(failed)?,
    );
    let same = (before.st_dev, before.st_ino, before.st_rdev, before.st_mode)
        == (after.st_dev, after.st_ino, after.st_rdev, after.st_mode);
    if same {
        Ok(Some(again))
    } else {
        Err(BlockError::AnotherDisk)
    }
}

/// The granule of direct I/O: the largest of the device's blocks and the page, within reason.
fn alignment(disk: BorrowedFd<'_>, kind: Kind) -> rustix::io::Result<u64> {
    let mut alignment = SMALLEST_ALIGNMENT;
    if kind == Kind::Device {
        let logical = u64::from(rustix::fs::ioctl_blksszget(disk)?);
        let physical = u64::from(rustix::fs::ioctl_blkpbszget(disk)?);
        for block in [logical, physical] {
            // A stripe or erase size may hide behind `physical`; beyond 64 KiB it is a hint we do not need.
            if block.is_power_of_two() && block <= LARGEST_ALIGNMENT {
                alignment = alignment.max(block);
            }
        }
    }
    Ok(alignment)
}

impl Shared {
    fn buffered(&self) -> BorrowedFd<'_> {
        self.buffered.as_fd()
    }

    /// The direct descriptor, where this transfer is one that direct I/O can express.
    fn direct_for(&self, offset: u64, bytes: &[u8]) -> Option<BorrowedFd<'_>> {
        let mask = self.alignment - 1;
        let aligned = |value: u64| value & mask == 0;
        let fits = aligned(offset) && aligned(bytes.len() as u64) && aligned(bytes.as_ptr().addr() as u64);
        self.direct.as_ref().filter(|_| fits).map(AsFd::as_fd)
    }

    /// Tells a device that is no longer what was opened from one that failed.
    fn judge(&self, failure: BlockError) -> BlockError {
        if self.kind == Kind::File || matches!(failure, BlockError::Interrupted) {
            return failure;
        }
        match kernel::device_size(self.buffered()).unwrap_or(0) {
            now if now == self.size => failure,
            now => BlockError::DeviceChanged {
                before: self.size,
                now,
                source: Box::new(failure),
            },
        }
    }

    /// Cuts a range into a part on whole granules and a shorter rest.
    fn aligned_part(&self, length: usize) -> usize {
        let mask = usize::try_from(self.alignment - 1).expect("an alignment is at most 64 KiB");
        length & !mask
    }
}

impl BlockRead for LocalDisk {
    fn size(&self) -> u64 {
        self.shared.size
    }

    fn alignment(&self) -> u64 {
        self.shared.alignment
    }

    fn max_workers(&self) -> usize {
        self.options.max_workers.max(1)
    }

    fn extent_knowledge(&self) -> ExtentKnowledge {
        match self.shared.kind {
            Kind::Device => ExtentKnowledge::Hidden,
            Kind::File => ExtentKnowledge::Known,
        }
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        Ok(Box::new(read::LocalReader::new(
            Arc::clone(&self.shared),
            cancel.clone(),
        )))
    }
}

impl BlockWrite for LocalDisk {
    fn size(&self) -> u64 {
        self.shared.size
    }

    fn alignment(&self) -> u64 {
        self.shared.alignment
    }

    fn max_workers(&self) -> usize {
        self.options.max_workers.max(1)
    }

    fn initial_content(&self) -> InitialContent {
        self.options.initial_content
    }

    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn WriteWorker>, BlockError> {
        if self.shared.access == Access::ReadOnly {
            return Err(BlockError::ReadOnly);
        }
        Ok(Box::new(write::LocalWriter::new(
            Arc::clone(&self.shared),
            cancel.clone(),
        )))
    }
}

#[cfg(test)]
mod tests;
