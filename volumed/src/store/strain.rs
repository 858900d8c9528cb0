//! How the database is: what waits, what failed, how large it is, and the room beside it.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::beside::{folder_of, log_of};
use super::{Inner, Store};

/// How the database is at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strain {
    /// Changes that wait for the writer.
    pub waiting: usize,
    /// Changes that the database itself failed since the start.
    pub errors: u64,
    /// When it last did.
    pub last_error: Option<Timestamp>,
    /// The database and its log, in bytes.
    pub size: u64,
    /// Room on its file system for us, in bytes.
    pub free: u64,
    /// The size of its file system, in bytes.
    pub capacity: u64,
    /// Whether the room that is kept for what has begun is not there.
    pub is_short: bool,
}

impl Store {
    /// How the database is. Looks at the file system, which hardly blocks.
    #[must_use]
    pub fn strain(&self) -> Strain {
        let Inner::Threads { writer, path, .. } = &*self.inner else {
            return Strain::default();
        };
        let (waiting, errors, last_error) = writer.strain();
        let (free, capacity) = room(path);
        Strain {
            waiting,
            errors,
            last_error,
            size: length(path) + length(&log_of(path)),
            free,
            capacity,
            is_short: writer.is_short(),
        }
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |found| found.len())
}

/// Nought where the file system does not tell.
fn room(file: &Path) -> (u64, u64) {
    let found = rustix::fs::statvfs(folder_of(file));
    found.map_or((0, 0), |fs| {
        (fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize)
    })
}
