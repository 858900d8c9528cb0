//! One look at all whole disks in sysfs.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Inventory, Partition};
use super::identity::{Bus, IdentitySource, KernelIdentities};
use super::root::SysRoot;
use crate::model::{Bytes, DevNum};

/// Sysfs counts in sectors of 512 bytes, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// How often one disk is read anew when it changed while being read, before it is called unsettled.
const LOOKS: usize = 3;

/// The disks could not be listed at all.
#[derive(Debug, thiserror::Error)]
#[error("reading {path} while scanning for disks")]
pub struct ScanError {
    /// What could not be read.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The present boot: together with `diskseq` it names one plug-in of a disk for ever.
///
/// # Errors
/// Where procfs does not tell.
pub fn boot_id(root: &SysRoot) -> Result<String, ScanError> {
    let path = root.proc.join("sys/kernel/random/boot_id");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(ScanError { path, source }),
    }
}

/// Lists the whole disks with the identities that the kernel reports, as generation 0.
///
/// # Errors
/// [`ScanError`] where the list itself cannot be read. A disk that appears, vanishes or changes meanwhile is no error:
/// it is named in [`Inventory::unsettled`], or simply absent.
pub fn scan(root: &SysRoot) -> Result<Inventory, ScanError> {
    scan_with(root, &KernelIdentities::default(), 0)
}

/// As [`scan`], with the identities from `identities`, numbered `generation`.
///
/// # Errors
/// As for [`scan`].
pub fn scan_with(
    root: &SysRoot,
    identities: &dyn IdentitySource,
    generation: u64,
) -> Result<Inventory, ScanError> {
    let boot_id = boot_id(root)?;

    let mut inventory = Inventory {
        boot_id,
        generation,
        disks: Vec::new(),
        unsettled: Vec::new(),
        disputed: BTreeSet::new(),
    };
    for name in entries(&root.block_dir())? {
        match look_at(root, identities, &name) {
            Look::Settled(disk) => inventory.disks.push(disk),
            Look::WithoutIdentity(disk) => {
                inventory.disks.push(disk);
                inventory.unsettled.push(name);
            }
            Look::Unsettled => inventory.unsettled.push(name),
            Look::NoDisk => {}
        }
    }
    Ok(inventory)
}

/// The names in a directory, sorted.
fn entries(dir: &Path) -> Result<Vec<String>, ScanError> {
    let failed = |source| ScanError {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// What came of looking at one disk.
enum Look {
    Settled(Disk),
    WithoutIdentity(Disk),
    Unsettled,
    NoDisk,
}

fn look_at(root: &SysRoot, identities: &dyn IdentitySource, name: &str) -> Look {
    let dir = root.block_dir().join(name);
    for _ in 0..LOOKS {
        match read_disk(root, identities, &dir, name) {
            Ok(Look::Unsettled) => {}
            Ok(look) => return look,
            // A directory that is gone is a disk that is gone; one that is still there is coming or going.
            Err(_) if !dir.exists() => return Look::NoDisk,
            Err(_) => return Look::Unsettled,
        }
    }
    Look::Unsettled
}

/// Reads one disk between two readings of its `uevent` file, which must agree: it carries number and `diskseq`.
fn read_disk(root: &SysRoot, identities: &dyn IdentitySource, dir: &Path, name: &str) -> io::Result<Look> {
    let before = std::fs::read_to_string(dir.join("uevent"))?;
    let property = |key: &str| {
        before
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    if property("DEVTYPE") != Some("disk") || attribute(dir, "hidden").is_ok_and(|hidden| hidden == "1") {
        return Ok(Look::NoDisk);
    }
    let Some(devname) = property("DEVNAME") else {
        return Err(not_ready());
    };

    let size = Bytes(number_in(dir, "size")?.saturating_mul(SECTOR));
    if size == Bytes(0) && Bus::of(name) == Bus::Loop {
        return Ok(Look::NoDisk);
    }
    let devnum = devnum(&attribute(dir, "dev")?)?;
    let diskseq = match number_in(dir, "diskseq") {
        Ok(diskseq) => Some(diskseq),
        // A kernel before 5.15 has neither the file nor the property.
        Err(error) if error.kind() == io::ErrorKind::NotFound && property("DISKSEQ").is_none() => None,
        Err(error) => return Err(error),
    };
    let node = root.dev.join(devname);
    let identity = identities.identity(dir, name, &node, devnum);
    let (holders, partitions) = stacked_on(dir)?;
    let mut disk = Disk {
        name: name.to_owned(),
        node,
        devnum,
        diskseq,
        size,
        read_only: number_in(dir, "ro")? != 0,
        identity: None,
        holders,
        partitions,
    };

    if std::fs::read_to_string(dir.join("uevent"))? != before {
        return Ok(Look::Unsettled);
    }
    match identity {
        Ok(identity) => {
            disk.identity = identity;
            Ok(Look::Settled(disk))
        }
        Err(_) => Ok(Look::WithoutIdentity(disk)),
    }
}

/// The holders of a disk and of its partitions, and the partitions.
fn stacked_on(dir: &Path) -> io::Result<(Vec<String>, Vec<Partition>)> {
    let mut holders = holders(dir);
    let mut partitions = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.join("partition").exists() {
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        partitions.push(Partition {
            name: name.to_owned(),
            devnum: devnum(&attribute(&path, "dev")?)?,
        });
        holders.extend(self::holders(&path));
    }
    holders.sort_unstable();
    holders.dedup();
    partitions.sort_unstable();
    Ok((holders, partitions))
}

fn holders(dir: &Path) -> Vec<String> {
    entries(&dir.join("holders")).unwrap_or_default()
}

fn attribute(dir: &Path, name: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(dir.join(name))?.trim_end().to_owned())
}

fn number_in(dir: &Path, name: &str) -> io::Result<u64> {
    attribute(dir, name)?.parse().map_err(|_| not_ready())
}

fn devnum(text: &str) -> io::Result<DevNum> {
    let (major, minor) = text.split_once(':').ok_or_else(not_ready)?;
    let (major, minor) = (
        major.parse().map_err(|_| not_ready())?,
        minor.parse().map_err(|_| not_ready())?,
    );
    Ok(DevNum { major, minor })
}

/// An attribute that is there but says nothing yet.
fn not_ready() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
