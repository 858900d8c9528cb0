//! A copy of the database while it is used: consistent, checked, private, and gone where it comes to nothing.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use rustix::fs::statvfs;
use sha2::{Digest, Sha256};

use super::ballast::BALLAST;
use super::beside::{PrivateFile, beside, folder_of, log_of, memory_of};
use super::inspect::{Depth, inspect};
use super::{StoreError, meta, open_reader};

/// The fact under which a copy says when it was made.
pub(super) const MADE_AT: &str = "backed_up_at";

/// Why there is no copy. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no room for it, and the room that there is belongs to the daemon.
    #[error("no room for a copy of the database in {folder}: it takes {needed} bytes, and {free} are free", folder = folder.display())]
    NoRoom {
        /// Where it would be made.
        folder: PathBuf,
        /// What it takes at most.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// Something has the name already.
    #[error("{path} is there already; name another file, or give --force", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy could not be written.
    #[error("cannot write a copy of the database in {folder}", folder = folder.display())]
    Io {
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// A whole copy of the database, without a name: gone with its descriptor.
#[derive(Debug)]
pub struct Copy {
    /// Its content, from the beginning.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
}

/// Makes a copy of the database at `path` beside it and takes its name away. Blocks; whoever uses the database is not kept waiting.
///
/// # Errors
/// [`BackupError`]; nothing is left then.
pub(super) fn copy(path: &Path) -> Result<Copy, BackupError> {
    let copied = write(path, path)?;
    let failed = io_error(path);
    let (mut file, digest) = (copied.without_name().map_err(&failed)?, Sha256::new());
    let (size, digest) = digest_of(&mut file, digest).map_err(&failed)?;
    file.rewind().map_err(failed)?;
    Ok(Copy { file, size, digest })
}

/// Makes a copy of the database at `path` as the file `to`, whether a daemon runs or not. Blocks. A crash leaves no half of it.
///
/// # Errors
/// [`BackupError`]; nothing is left then, and what had the name `to` still has it.
pub fn backup_to(path: &Path, to: &Path, is_replaced: Replace) -> Result<u64, BackupError> {
    let exists = || BackupError::Exists { path: to.to_owned() };
    if is_replaced == Replace::Never && to.exists() {
        return Err(exists());
    }
    let failed = io_error(to);
    let mut copied = write(path, to)?;
    let size = copied.file().metadata().map_err(&failed)?.len();
    if is_replaced == Replace::Never && to.exists() {
        return Err(exists());
    }
    copied.place(to).map_err(&failed)?;
    note_last(path, to);
    Ok(size)
}

/// Whether a file that is there already is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and that is an error.
    Never,
    /// It is replaced, by one that is whole.
    Always,
}

/// Where the last copy was put that this machine knows of, for people.
pub(super) fn last(database: &Path) -> Option<String> {
    let text = std::fs::read_to_string(beside(database, ".last-backup")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Notes where a copy is, for whoever finds the database damaged one day.
fn note_last(database: &Path, to: &Path) {
    let to = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    let text = format!("{} of {}\n", to.display(), Timestamp::now());
    let noted = PrivateFile::beside(database).and_then(|mut file| {
        io::Write::write_all(file.file(), text.as_bytes())?;
        file.place(&beside(database, ".last-backup"))
    });
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot note where the backup is");
    }
}

/// Writes a copy of the database beside `target`, checked and dated.
fn write(database: &Path, target: &Path) -> Result<PrivateFile, BackupError> {
    let named = |error: StoreError| BackupError::from(error.naming(database));
    let conn = open_reader(database).map_err(named)?;
    require_room(&conn, target)?;
    let copied = PrivateFile::beside(target).map_err(io_error(target))?;
    let path = copied.path().to_owned();
    // The file is there, empty and private already: SQLite writes into it.
    conn.execute("VACUUM INTO ?1", [path.to_string_lossy()])
        .map_err(|error| of_copying(error, &conn, target, database))?;
    let dated = Connection::open(&path)?;
    dated.execute_batch("PRAGMA journal_mode = MEMORY")?;
    meta::replace(&dated, MADE_AT, &Timestamp::now().to_string())?;
    drop(dated);
    drop(inspect(&path, Depth::Everything)?);
    for rest in [log_of(&path), memory_of(&path)] {
        let _ = std::fs::remove_file(rest);
    }
    Ok(copied)
}

/// What SQLite met while it copied: no room, or a database that cannot be read.
fn of_copying(error: rusqlite::Error, conn: &Connection, target: &Path, database: &Path) -> BackupError {
    match StoreError::from(error).naming(database) {
        full @ StoreError::Full(_) => require_room(conn, target).err().unwrap_or(full.into()),
        other => other.into(),
    }
}

/// That there is room for a copy, and for the daemon after that.
fn require_room(conn: &Connection, target: &Path) -> Result<(), BackupError> {
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, u64>(0));
    let needed = pragma("page_count")? * pragma("page_size")? + BALLAST;
    let folder = folder_of(target);
    let found = statvfs(folder).map_err(|error| io_error(target)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        let folder = folder.to_owned();
        return Err(BackupError::NoRoom { folder, needed, free });
    }
    Ok(())
}

fn io_error(target: &Path) -> impl Fn(io::Error) -> BackupError {
    let folder = folder_of(target).to_owned();
    move |source| BackupError::Io {
        folder: folder.clone(),
        source,
    }
}

fn digest_of(file: &mut File, mut digest: Sha256) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut size, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, digest.finalize().into()));
        }
        digest.update(&buffer[..read]);
        size += read as u64;
    }
}
