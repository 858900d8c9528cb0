//! The ballast: room beside the database that is given up when the disk is full, so that what has begun can be recorded.
//!
//! While it is not whole nothing new is admitted; what was admitted before goes on in the room that it left. It is made again
//! as soon as there is room for it, at the next try to admit something.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::StoreError;
use super::beside::{beside, folder_of};

/// As much as SQLite's log grows to before it begins anew: every operation under way has room for its end many times over.
pub(super) const BALLAST: u64 = 4 << 20;

/// How much must be free beside it before it is made again: the room that it left is not room for anything new.
const AFTER_THAT: u64 = 1 << 20;

/// The ballast of a database. Only the writer's thread has it.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    short: Arc<AtomicBool>,
}

impl Ballast {
    /// The ballast of the database at `path`, made if there is room.
    pub(super) fn of(database: &Path) -> Self {
        let ballast = Self {
            path: beside(database, ".ballast"),
            short: Arc::new(AtomicBool::new(true)),
        };
        if ballast.require().is_err() {
            tracing::warn!(path = %ballast.path.display(), "no room for the ballast: nothing new is taken until there is");
        }
        ballast
    }

    /// Tells whether it is not there.
    pub(super) fn is_short(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.short)
    }

    /// That the ballast is there.
    ///
    /// # Errors
    /// [`StoreError::Full`] where there is no room for it.
    pub(super) fn require(&self) -> Result<(), StoreError> {
        if self.short.load(Ordering::Relaxed) {
            self.make().map_err(|error| {
                let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                StoreError::Full(rusqlite::Error::SqliteFailure(full, Some(error.to_string())))
            })?;
            self.short.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives its room up.
    pub(super) fn give_up(&self) {
        if !self.short.swap(true, Ordering::Relaxed) {
            let removed = fs::remove_file(&self.path);
            tracing::warn!(
                ?removed,
                "the disk is full: the ballast is given up for what is under way"
            );
        }
    }

    fn make(&self) -> std::io::Result<()> {
        let found = statvfs(folder_of(&self.path))?;
        if found.f_bavail.saturating_mul(found.f_frsize) < BALLAST + AFTER_THAT {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        if file.metadata()?.len() != BALLAST {
            file.set_len(0)?;
        }
        match fallocate(&file, FallocateFlags::empty(), 0, BALLAST) {
            // A file system that reserves nothing: there, nothing can be kept free.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(BALLAST),
            done => Ok(done?),
        }
    }
}
