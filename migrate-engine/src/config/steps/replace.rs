//! Puts a new file in the place of an old one: whole or not at all, durable, and only over what was read.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

use super::access;
use super::error::StepsError;
use crate::config::alarms::folder_of;
use crate::config::existing::open_existing;

/// Far more than any configuration has.
const LONGEST: u64 = 4 << 20;
/// What the name of a file under way has behind that of the configuration.
const UNDER_WAY: &str = ".under-way-";

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    file: File,
    pub(super) metadata: Metadata,
    pub(super) bytes: Vec<u8>,
}

/// Whether a new file has taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It has; it survives a power cut.
    Yes,
    /// What is there is no longer what was read: read again.
    Overtaken,
}

impl Reading {
    /// Reads a file whole; `None` where there is none.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, StepsError> {
        let cannot = |source| StepsError::io("read", path)(source);
        let Some(file) = open_existing(path).map_err(cannot)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(cannot)?;
        let path = path.to_owned();
        if !metadata.is_file() {
            return Err(StepsError::NoFile { path });
        }
        let mut bytes = Vec::new();
        let read = (&file).take(LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(StepsError::io("read", &path))?;
        if bytes.len() as u64 > LONGEST {
            let limit = LONGEST;
            return Err(StepsError::TooLong { path, limit });
        }
        Ok(Some(Self {
            file,
            metadata,
            bytes,
        }))
    }
}

/// Puts `text` in the place of what was read from `target`, or of nothing. Dies the process before the name changes hands,
/// the old file is whole, and a file under way is left, which [`sweep`] removes.
///
/// A program that knows nothing of our lock may have written meanwhile: that is looked for right before.
pub(super) fn replace(target: &Path, old: Option<&Reading>, text: &str) -> Result<Placed, StepsError> {
    let cannot = |source| StepsError::io("write", target)(source);
    let mut new = under_way(target).map_err(cannot)?;
    new.write_all(text.as_bytes()).map_err(cannot)?;
    if let Some(old) = old {
        access::carry_over(&old.file, new.as_file(), target)?;
    }
    new.as_file().sync_all().map_err(cannot)?;
    let placed = match old {
        Some(old) if !is_still(target, &old.metadata).map_err(cannot)? => return Ok(Placed::Overtaken),
        Some(_) => new.persist(target),
        None => new.persist_noclobber(target),
    };
    match placed {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(Placed::Overtaken),
        Err(error) => return Err(cannot(error.error)),
    }
    // A name is durable only with its folder.
    let folder = File::open(folder_of(target));
    folder.and_then(|folder| folder.sync_all()).map_err(cannot)?;
    Ok(Placed::Yes)
}

/// Removes what writers that were killed have left beside `target`. Only for who holds the lock: nobody else writes then.
pub(super) fn sweep(target: &Path) {
    let prefix = prefix(target);
    let Ok(entries) = fs::read_dir(folder_of(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(&prefix);
        if is_left && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let removed = fs::remove_file(entry.path());
            tracing::info!(path = %entry.path().display(), ?removed, "a change that was interrupted is cleaned up");
        }
    }
}

/// A file that only its owner can read; dropped before it has its place, it is gone.
fn under_way(target: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(&prefix(target))
        .rand_bytes(12)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder_of(target))
}

fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}{UNDER_WAY}")
}

/// Whether the name still leads to the file that was read, and nobody has written to that.
fn is_still(target: &Path, was: &Metadata) -> io::Result<bool> {
    let is = match fs::symlink_metadata(target) {
        Ok(is) => is,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let version = |it: &Metadata| {
        let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        (it.dev(), it.ino(), it.len(), times)
    };
    Ok(version(&is) == version(was))
}
