//! Disk images for the demo: a partition table and an ext4 file system with known files, made without any device.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::content::{self, Hashes};
use crate::command::{command, output, shown};

/// Where the partition starts: 1 MiB, as everywhere.
pub(super) const PARTITION_OFFSET: u64 = 1 << 20;

const SECTOR: u64 = 512;

/// A disk as raw bytes, and what is on it.
#[derive(Debug)]
pub(super) struct RawDisk {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) files: Hashes,
}

/// Makes `dir/name.raw` of `size` bytes.
pub(super) fn build(dir: &Path, name: &str, size: u64) -> Result<RawDisk> {
    let tree = dir.join(format!("{name}.files"));
    let files = content::make(&tree, name)?;
    let path = dir.join(format!("{name}.raw"));
    let file = File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.set_len(size)
        .with_context(|| format!("cannot size {}", path.display()))?;
    let length = size - PARTITION_OFFSET;
    partition(&path, length)?;
    output(
        command("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-L", "demo", "-E"])
            .arg(format!("offset={PARTITION_OFFSET},root_owner=0:0"))
            .arg("-d")
            .arg(&tree)
            .arg(&path)
            .arg(format!("{}k", length / 1024)),
    )?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    Ok(RawDisk { path, size, files })
}

/// Makes another format of a disk beside it; `options` as of `qemu-img convert -o`, empty for none.
pub(super) fn convert(raw: &Path, target: &Path, format: &str, options: &str) -> Result<()> {
    let mut convert = command("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", format]);
    if !options.is_empty() {
        convert.args(["-o", options]);
    }
    output(convert.arg(raw).arg(target)).map(drop)
}

fn partition(path: &Path, length: u64) -> Result<()> {
    let table = format!(
        "label: dos\nunit: sectors\nstart={}, size={}, type=83, bootable\n",
        PARTITION_OFFSET / SECTOR,
        length / SECTOR
    );
    let mut sfdisk = command("sfdisk");
    sfdisk
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(path);
    let mut child = sfdisk
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(&sfdisk)))?;
    let mut stdin = child.stdin.take().expect("stdin was piped just above");
    stdin
        .write_all(table.as_bytes())
        .context("cannot tell sfdisk the table")?;
    drop(stdin);
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", shown(&sfdisk));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
