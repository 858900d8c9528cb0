//! Puts a copy in the database's place: checked whole before, the former one kept, every crash on the way noticed.
//!
//! 1. The copy is copied beside the database, checked, and marked as restored; nothing of the former one is touched yet.
//! 2. A note is made durable: from here on no daemon starts until a restore has come to its end.
//! 3. The former database is renamed together with its log, without which it would be an older one.
//! 4. The copy gets the name, then the note goes.
//!
//! Repeated after a crash, it goes on with whatever has not been renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use rustix::fs::statvfs;

use super::ballast::BALLAST;
use super::beside::{PrivateFile, beside, folder_of, log_of, memory_of, sweep, sync_folder};
use super::inspect::{Depth, inspect};
use super::lock::Lock;
use super::{StoreError, backup, meta, open_reader, restored};

/// What a restore may do besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// Put it in the place of another installation's database.
    pub other_installation: bool,
    /// The machine was replaced: the VM that the daemon finds itself in is taken for its own.
    pub other_vm: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When the copy was made, where it says so.
    pub of: Option<String>,
    /// Where the former database is now, if there was one.
    pub kept: Option<PathBuf>,
}

/// Why nothing was restored. The former database is as it was, unless the error says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The copy, or the place for it, will not do.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy belongs to another installation.
    #[error(
        "{from} belongs to installation `{found}`, and the database in its place to `{present}`; where that is what you want, \
         give --other-installation", from = from.display()
    )]
    OtherInstallation {
        /// The copy.
        from: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose the present database is.
        present: String,
    },
    /// The copy was never a daemon's.
    #[error("{from} has no installation in it: no daemon ever ran on it", from = from.display())]
    Unused {
        /// The copy.
        from: PathBuf,
    },
    /// There is no room for it beside the former one.
    #[error("no room in {folder}: the copy takes {needed} bytes, and {free} are free", folder = folder.display())]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// What it takes.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// A file could not be written or renamed.
    #[error("cannot {what}; run the restore again, no daemon starts before it has come to its end")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl From<rusqlite::Error> for RestoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// The note of a restore that has not come to its end; says where the former database goes.
pub(super) fn note_of(database: &Path) -> PathBuf {
    beside(database, ".restoring")
}

/// Puts the copy `from` in the place of `database`. Blocks.
///
/// # Errors
/// [`RestoreError`]; [`StoreError::InUse`] while a daemon runs on the database.
pub fn restore(database: &Path, from: &Path, options: RestoreOptions) -> Result<Restored, RestoreError> {
    let mut lock = Lock::take(database)?;
    sweep(database);
    let copy = take(database, from)?;
    let of = prepare(copy.path(), from, database, options)?;
    let kept = make_way(database)?;
    copy.place(database).map_err(io_error("put the copy in place"))?;
    let note = note_of(database);
    fs::remove_file(&note)
        .and_then(|()| sync_folder(database))
        .map_err(io_error("remove the note of the restore"))?;
    lock.remember_made(database);
    let kept = kept.exists().then_some(kept);
    Ok(Restored { of, kept })
}

/// Copies the copy beside the database, with its log where it has one, and makes it one file.
fn take(database: &Path, from: &Path) -> Result<PrivateFile, RestoreError> {
    let open_error = |source| StoreError::Open {
        path: from.to_owned(),
        source,
    };
    drop(inspect(from, Depth::Everything)?);
    let mut original = File::open(from).map_err(open_error)?;
    let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    require_room(database, 2 * (length(from) + length(&log_of(from))))?;
    let mut copy = PrivateFile::beside(database).map_err(io_error("make a copy beside the database"))?;
    copy.belong_to_folder()
        .map_err(io_error("give the copy to the database's user"))?;
    io::copy(&mut original, copy.file()).map_err(io_error("copy the backup"))?;
    if length(&log_of(from)) > 0 {
        fs::copy(log_of(from), log_of(copy.path())).map_err(io_error("copy the backup's log"))?;
    }
    let conn = Connection::open(copy.path())?;
    conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
    drop(conn);
    drop(
        inspect(copy.path(), Depth::Everything).map_err(|error| match error {
            // The copy's own name means nothing to anybody.
            StoreError::Damaged { source, .. } => StoreError::Damaged {
                path: from.to_owned(),
                source,
            },
            other => other,
        })?,
    );
    Ok(copy)
}

/// Checks whose the copy is and marks it; returns when it was made.
fn prepare(
    copy: &Path,
    from: &Path,
    database: &Path,
    options: RestoreOptions,
) -> Result<Option<String>, RestoreError> {
    let conn = Connection::open(copy)?;
    let found = meta::get(&conn, "install_id")?.ok_or_else(|| RestoreError::Unused {
        from: from.to_owned(),
    })?;
    if let Some(present) = installation_of(database)
        && present != found
        && !options.other_installation
    {
        let from = from.to_owned();
        return Err(RestoreError::OtherInstallation { from, found, present });
    }
    let of = meta::get(&conn, backup::MADE_AT)?;
    let said = of
        .as_ref()
        .map_or_else(|| "an unknown time".to_owned(), Clone::clone);
    meta::replace(&conn, restored::MARK, &said)?;
    meta::remove(&conn, backup::MADE_AT)?;
    if options.other_vm {
        meta::remove(&conn, "vm_id")?;
    }
    Ok(of)
}

/// Whose the database in place is, as far as it can still be read. A damaged one may tell no more.
fn installation_of(database: &Path) -> Option<String> {
    let conn = open_reader(database).ok()?;
    meta::get(&conn, "install_id").ok().flatten()
}

/// Takes the former database out of the way, its log with it, and returns its new name.
fn make_way(database: &Path) -> Result<PathBuf, RestoreError> {
    let note = note_of(database);
    let kept = match fs::read_to_string(&note) {
        Ok(text) if !text.is_empty() => PathBuf::from(text),
        _ => {
            let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
            let kept = beside(database, &format!(".before-restore-{now}"));
            let mut file = PrivateFile::beside(database).map_err(io_error("note the restore"))?;
            file.belong_to_folder().map_err(io_error("note the restore"))?;
            io::Write::write_all(file.file(), kept.as_os_str().as_encoded_bytes())
                .map_err(io_error("note the restore"))?;
            file.place(&note).map_err(io_error("note the restore"))?;
            kept
        }
    };
    let moves = [
        (database.to_owned(), kept.clone()),
        (log_of(database), log_of(&kept)),
        (memory_of(database), memory_of(&kept)),
    ];
    // Once the former one is away, what has the name is a copy that an earlier try put there.
    let is_away = kept.exists();
    for (index, (old, new)) in moves.into_iter().enumerate() {
        if !old.exists() || (index == 0 && is_away) {
            continue;
        }
        fs::rename(&old, &new).map_err(io_error("rename the former database"))?;
    }
    sync_folder(database).map_err(io_error("make the new names durable"))?;
    Ok(kept)
}

fn require_room(database: &Path, copied: u64) -> Result<(), RestoreError> {
    let folder = folder_of(database);
    let found =
        statvfs(folder).map_err(|error| io_error("ask for the room beside the database")(error.into()))?;
    let (needed, free) = (copied + BALLAST, found.f_bavail.saturating_mul(found.f_frsize));
    if free < needed {
        let folder = folder.to_owned();
        return Err(RestoreError::NoRoom { folder, needed, free });
    }
    Ok(())
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> RestoreError {
    move |source| RestoreError::Io { what, source }
}
