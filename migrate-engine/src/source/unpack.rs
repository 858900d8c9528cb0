//! A gzip-compressed file of a package, unpacked into the scratch folder within bounds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tempfile::{NamedTempFile, TempPath};

use super::blocking::Cancel;
use super::file::{ReadAt, SourceFile};
use super::{Options, SourceError};

const PIECE: usize = 1 << 20;
/// How often the free space is looked at.
const LOOK_EVERY: u64 = 64 << 20;
/// Below this, the ratio says nothing.
const RATIO_FROM: u64 = 16 << 20;

/// Unpacks `file` to a file of our own, which goes with the returned path; holes stay holes.
///
/// `capacity` is that of the disk in the file, and bounds what it may unpack to: an image of a disk is hardly larger.
///
/// # Errors
/// `UnpackedTooLarge`, `UnpackRatio`, `NoSpace`, `Unpack`, `Io`, `Cancelled`; nothing is left behind then.
pub(super) fn gunzip(
    file: &SourceFile,
    capacity: u64,
    options: &Options,
    cancel: &Cancel,
) -> Result<TempPath, SourceError> {
    let dir = &options.scratch_dir;
    let limit = bound(capacity).min(options.limits.unpacked);
    let mut target = tempfile::Builder::new()
        .prefix("source-")
        .suffix(".unpacked")
        .tempfile_in(dir)
        .map_err(SourceError::io("making a file in", dir))?;
    ensure_space(target.as_file(), file, dir, options.limits.scratch_reserve)?;
    let mut packed = MultiGzDecoder::new(Sequential { file, offset: 0 });
    let (mut piece, mut written) = (vec![0; PIECE], 0_u64);
    loop {
        cancel.check()?;
        let len = fill(&mut packed, &mut piece).map_err(|source| SourceError::Unpack {
            file: file.label.clone(),
            source,
        })?;
        if len == 0 {
            break;
        }
        let before = written;
        written += len as u64;
        refuse_bomb(file, written, limit, options.limits.unpack_ratio)?;
        write_sparse(&mut target, &piece[..len]).map_err(SourceError::io("writing", target.path()))?;
        if before / LOOK_EVERY != written / LOOK_EVERY {
            ensure_space(target.as_file(), file, dir, options.limits.scratch_reserve)?;
        }
    }
    target
        .as_file()
        .set_len(written)
        .map_err(SourceError::io("writing", target.path()))?;
    Ok(target.into_temp_path())
}

/// The most that an image of a disk of `capacity` takes: its data, the tables of a sparse format, what deflate adds.
fn bound(capacity: u64) -> u64 {
    capacity.saturating_add(capacity / 16).saturating_add(16 << 20)
}

fn refuse_bomb(file: &SourceFile, written: u64, limit: u64, ratio: u64) -> Result<(), SourceError> {
    if written > limit {
        return Err(SourceError::UnpackedTooLarge {
            file: file.label.clone(),
            limit,
        });
    }
    if written > RATIO_FROM && written / ratio.max(1) > file.len() {
        return Err(SourceError::UnpackRatio {
            file: file.label.clone(),
            ratio,
        });
    }
    Ok(())
}

fn ensure_space(target: &File, file: &SourceFile, dir: &Path, reserve: u64) -> Result<(), SourceError> {
    let space = rustix::fs::fstatvfs(target)
        .map_err(io::Error::from)
        .map_err(SourceError::io("asking for the free space of", dir))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < reserve {
        return Err(SourceError::NoSpace {
            file: file.label.clone(),
            dir: dir.to_owned(),
            reserve,
        });
    }
    Ok(())
}

/// Fills the buffer as far as there is input.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match from.read(&mut buffer[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

/// Writes what is not zero and steps over what is, by 64 KiB.
fn write_sparse(target: &mut NamedTempFile, bytes: &[u8]) -> io::Result<()> {
    for block in bytes.chunks(64 * 1024) {
        if block.iter().all(|byte| *byte == 0) {
            let step = i64::try_from(block.len()).expect("a block is small");
            target.seek(SeekFrom::Current(step))?;
        } else {
            target.write_all(block)?;
        }
    }
    Ok(())
}

/// A window as a stream.
struct Sequential<'a> {
    file: &'a SourceFile,
    offset: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.len() - self.offset).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        self.file.read_exact_at(&mut buffer[..len], self.offset)?;
        self.offset += len as u64;
        Ok(len)
    }
}
