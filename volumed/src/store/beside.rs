//! The files beside the database: their names, private ones that nobody else can read, and a folder that is durable.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// What begins the ending of a copy under way; one that a crash left is removed at the next start.
const UNDER_WAY: &str = ".under-way-";

/// The database's path with `ending` behind it.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// The write-ahead log of a database.
pub(super) fn log_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// The journal of a database that has no log yet.
pub(super) fn journal_of(database: &Path) -> PathBuf {
    beside(database, "-journal")
}

/// The shared memory of those who have a database open; it holds nothing that is not in the log.
pub(super) fn memory_of(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

/// The folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes what was made, renamed or removed in the folder of `file` survive a power cut.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// A file that only its owner can read, in the folder of the file that it may become. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct PrivateFile {
    path: PathBuf,
    file: File,
    is_placed: bool,
}

impl PrivateFile {
    /// An empty one beside `target`.
    pub(super) fn beside(target: &Path) -> io::Result<Self> {
        let path = beside(target, &format!("{UNDER_WAY}{}", Uuid::new_v4().simple()));
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            is_placed: false,
        })
    }

    /// Gives it to whom the folder belongs, where root made it: the daemon is a user of its own (docs/adr/0022), and could
    /// not open a file of root's.
    pub(super) fn belong_to_folder(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let folder = fs::metadata(folder_of(&self.path))?;
        fchown(&self.file, Some(folder.uid()), Some(folder.gid()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it the name `target`, in place of whatever has it; durable, both the content and the name.
    pub(super) fn place(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.is_placed = true;
        sync_folder(target)
    }

    /// Takes its name away: the content lives as long as the descriptor.
    pub(super) fn without_name(mut self) -> io::Result<File> {
        fs::remove_file(&self.path)?;
        self.is_placed = true;
        self.file.try_clone()
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        for path in [self.path.clone(), log_of(&self.path), memory_of(&self.path)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a file of a copy that was given up is left");
                }
                _ => {}
            }
        }
    }
}

/// Removes the copies that a crash left under way beside the database. The lock must be held.
pub(super) fn sweep(database: &Path) {
    let Some(name) = database.file_name() else { return };
    let beginning = format!("{}{UNDER_WAY}", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(folder_of(database)) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&beginning) {
            let removed = fs::remove_file(entry.path());
            tracing::info!(path = %entry.path().display(), ?removed, "a copy that a crash left is removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn what_root_makes_can_belong_to_the_owner_of_its_folder() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
            eprintln!("SKIPPED: needs root to give a folder away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(1234), Some(2345)).unwrap();
        let file = PrivateFile::beside(&dir.path().join("db")).unwrap();
        assert_eq!(file.file.metadata().unwrap().uid(), 0);
        file.belong_to_folder().unwrap();
        let metadata = file.file.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 2345));
    }
}
