//! Who uses a disk: mounts, swap areas and stacked devices, on it or on its partitions.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::disk::Inventory;
use super::identity::number;
use super::root::SysRoot;
use crate::model::DevNum;

/// One way in which a disk is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// It, or a partition of it, is mounted here, as seen from our mount namespace.
    Mounted(PathBuf),
    /// It, or a partition of it, is a swap area under this name.
    Swap(PathBuf),
    /// A device of this kernel name is stacked on it or on a partition of it.
    Held(String),
    /// A process has it open.
    Opened {
        /// Process id.
        pid: u32,
        /// Name of its program, at most 15 bytes.
        comm: String,
    },
    /// Somebody has claimed it exclusively, who need not be visible from here (another mount namespace).
    Exclusive,
    /// Another volume is recorded on it.
    Claimed(String),
}

impl Use {
    /// The volume that claims the disk, where that is what this use says.
    #[must_use]
    pub fn claimant(&self) -> Option<&str> {
        match self {
            Use::Claimed(by) => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Use::Mounted(at) => write!(f, "mounted at {}", at.display()),
            Use::Swap(path) => write!(f, "swap area {}", path.display()),
            Use::Held(holder) => write!(f, "held by {holder}"),
            Use::Opened { pid, comm } => write!(f, "open in {comm} (pid {pid})"),
            Use::Exclusive => f.write_str("claimed exclusively"),
            Use::Claimed(by) => write!(f, "claimed by {by}"),
        }
    }
}

/// The mounts or swap areas could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading {path} to see which disks are in use")]
pub struct UsageError {
    /// What could not be read.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Who uses which disk, by the number of the whole disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    uses: BTreeMap<DevNum, Vec<Use>>,
}

impl Usage {
    /// Reads mounts and swap areas now; holders as the inventory has them. Costs a few files, opens no device.
    /// Processes and exclusive claims are asked for one disk at a time, by [`openers`](super::openers()) and
    /// [`exclusive_probe`](super::exclusive_probe); add them with [`Usage::add`].
    ///
    /// # Errors
    /// [`UsageError`] where `/proc` does not answer: then nothing may be taken for free.
    pub fn collect(root: &SysRoot, inventory: &Inventory) -> Result<Usage, UsageError> {
        let mut usage = Usage::default();
        for disk in &inventory.disks {
            for holder in &disk.holders {
                usage.add(disk.devnum, Use::Held(holder.clone()));
            }
            // The loop driver makes no holder link for a device that a loop device stands on.
            if let Some(below) = stacked_on(root, &disk.name).and_then(|devnum| inventory.covering(devnum)) {
                usage.add(below.devnum, Use::Held(disk.name.clone()));
            }
        }
        for mount in read_lines(root.proc.join("self/mountinfo"))?
            .iter()
            .filter_map(|line| Mount::parse(line))
        {
            // A file system of its own device number (btrfs) still names the device it is on.
            let numbers = [Some(mount.devnum), block_number_at(&mount.source)];
            let disk = numbers
                .into_iter()
                .flatten()
                .find_map(|devnum| inventory.covering(devnum));
            if let Some(disk) = disk {
                usage.add(disk.devnum, Use::Mounted(mount.point));
            }
        }
        // No swap support, no file.
        let swaps = match read_lines(root.proc.join("swaps")) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        for line in swaps.iter().skip(1) {
            let Some(path) = line.split_ascii_whitespace().next().map(unescape) else {
                continue;
            };
            if let Some(disk) = block_number_at(&path).and_then(|devnum| inventory.covering(devnum)) {
                usage.add(disk.devnum, Use::Swap(path));
            }
        }
        Ok(usage)
    }

    /// Adds a use of the disk with this number; the same use twice counts once.
    pub fn add(&mut self, disk: DevNum, new: Use) {
        let uses = self.uses.entry(disk).or_default();
        if !uses.contains(&new) {
            uses.push(new);
        }
    }

    /// The uses of the disk with this number.
    #[must_use]
    pub fn of(&self, disk: DevNum) -> &[Use] {
        self.uses.get(&disk).map_or(&[], Vec::as_slice)
    }
}

/// One line of `mountinfo`, as far as it concerns disks (proc_pid_mountinfo(5)).
struct Mount {
    devnum: DevNum,
    point: PathBuf,
    source: PathBuf,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split_ascii_whitespace().skip(2);
        let (major, minor) = head.next()?.split_once(':')?;
        let devnum = DevNum {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        };
        let point = unescape(head.nth(1)?);
        let source = tail
            .split_ascii_whitespace()
            .nth(1)
            .map(unescape)
            .unwrap_or_default();
        Some(Mount {
            devnum,
            point,
            source,
        })
    }
}

/// Whether a line of `mountinfo` is one.
#[cfg(feature = "fuzzing")]
pub(super) fn parses_as_mount(line: &str) -> bool {
    Mount::parse(line).is_some()
}

/// The block device that the loop device of this name stands on, if it does.
fn stacked_on(root: &SysRoot, name: &str) -> Option<DevNum> {
    let backing = std::fs::read_to_string(root.block_dir().join(name).join("loop/backing_file")).ok()?;
    block_number_at(Path::new(backing.trim_end_matches('\n')))
}

/// The number of the block device at `path`; `None` for anything else, and for what is not there.
fn block_number_at(path: &Path) -> Option<DevNum> {
    if !path.is_absolute() {
        return None;
    }
    let meta = std::fs::metadata(path).ok()?;
    meta.file_type().is_block_device().then(|| number(meta.rdev()))
}

fn read_lines(path: PathBuf) -> Result<Vec<String>, UsageError> {
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::to_owned)
            .collect()),
        Err(source) => Err(UsageError { path, source }),
    }
}

/// Undoes the kernel's `\040` escapes of blanks, tabs, newlines and backslashes.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        rest = match octal {
            Some(byte) => {
                bytes.push(byte);
                &after[3..]
            }
            None => {
                bytes.push(first);
                after
            }
        };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
