//! Who has a disk open, and whether somebody claims it exclusively.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, open, statx};
use rustix::io::Errno;

use super::disk::Disk;
use super::identity::block_number;
use super::root::SysRoot;
use crate::model::DevNum;

/// A process that has a disk, or a partition of it, open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opener {
    /// Process id.
    pub pid: u32,
    /// Name of its program, at most 15 bytes.
    pub comm: String,
}

/// The processes that have `disk` or a partition of it open, ourselves excluded.
///
/// Looks at every descriptor of every process: some milliseconds, so ask when a person or a refusal needs the answer.
/// Processes that end meanwhile are left out. Descriptors are compared by device number, not by path, so an opener
/// in another mount namespace or of a deleted node is found too.
///
/// # Errors
/// Where `/proc` cannot be listed.
pub fn openers(root: &SysRoot, disk: &Disk) -> io::Result<Vec<Opener>> {
    Ok(openers_of(root, &[disk])?.remove(0))
}

/// The same for several disks in one look at the processes; in the order of `disks`.
///
/// # Errors
/// As [`openers`].
pub fn openers_of(root: &SysRoot, disks: &[&Disk]) -> io::Result<Vec<Vec<Opener>>> {
    let own = std::process::id();
    let mut found = vec![Vec::new(); disks.len()];
    for entry in std::fs::read_dir(&root.proc)? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let open = match pid == own {
            true => Vec::new(),
            false => open_in(&entry.path()),
        };
        for (disk, openers) in disks.iter().zip(&mut found) {
            if open.iter().any(|devnum| disk.covers(*devnum)) {
                let comm = std::fs::read(entry.path().join("comm")).unwrap_or_default();
                openers.push(Opener {
                    pid,
                    comm: String::from_utf8_lossy(&comm).trim_end().to_owned(),
                });
            }
        }
    }
    for openers in &mut found {
        openers.sort_unstable_by_key(|opener| opener.pid);
    }
    Ok(found)
}

/// The block devices that a process has open.
fn open_in(process: &Path) -> Vec<DevNum> {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else {
        return Vec::new();
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| block_number_behind(&descriptor.path()))
        .collect()
}

/// The number of the block device behind a descriptor link; asks no file server that may not answer.
fn block_number_behind(link: &Path) -> Option<DevNum> {
    let stat = statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
    (FileType::from_raw_mode(stat.stx_mode.into()) == FileType::BlockDevice).then_some(DevNum {
        major: stat.stx_rdev_major,
        minor: stat.stx_rdev_minor,
    })
}

/// Whether a disk could be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusivity {
    /// Nobody has an exclusive claim on it at this moment.
    Free,
    /// A file system, a stacked device or a process with `O_EXCL` has it or a partition of it.
    Claimed,
}

/// A disk could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The node is not, or no longer, that disk.
    #[error("{node} is no longer device {devnum}", node = node.display())]
    Moved {
        /// The node.
        node: PathBuf,
        /// The disk it named.
        devnum: DevNum,
    },
    /// It could not be opened.
    #[error("probing {node} for exclusive use", node = node.display())]
    Io {
        /// The node.
        node: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Asks the kernel whether anybody has an exclusive claim on `disk`: mounted (in whatever mount namespace), stacked
/// upon, or opened with `O_EXCL`. Plain openers, our own pin among them, do not matter.
///
/// For the moment of asking it takes the claim itself, so it must not be asked while somebody is about to mount.
///
/// # Errors
/// [`ProbeError`] where the node is gone or names another device.
pub fn exclusive_probe(disk: &Disk) -> Result<Exclusivity, ProbeError> {
    let node = || disk.node.clone();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::EXCL;
    let fd = match open(&disk.node, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::BUSY) => return Ok(Exclusivity::Claimed),
        Err(error) => {
            return Err(ProbeError::Io {
                node: node(),
                source: error.into(),
            });
        }
    };
    match block_number(&fd) {
        Ok(Some(devnum)) if devnum == disk.devnum => Ok(Exclusivity::Free),
        Ok(_) => Err(ProbeError::Moved {
            node: node(),
            devnum: disk.devnum,
        }),
        Err(source) => Err(ProbeError::Io { node: node(), source }),
    }
}
