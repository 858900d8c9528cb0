//! `volumectl backup`: the daemon's database into a file, whole or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use uuid::Uuid;

use super::Session;
use super::failure::Failure;
use super::measure::human_size;

impl Session {
    pub(super) async fn back_up(&self, to: &Path, force: bool) -> Result<(), Failure> {
        if !force && to.exists() {
            return Err(taken(to));
        }
        let mut partial = Partial::beside(to)?;
        let backup = self.client.back_up(&mut partial.file).await?;
        partial.place(to, force)?;
        self.out.show(&backup, |backup| {
            let (to, size) = (to.display(), human_size(backup.size_bytes));
            format!("backed up to {to} ({size}, SHA-256 {})", backup.sha256)
        })
    }
}

fn taken(to: &Path) -> Failure {
    Failure::Selection {
        error: format!("{} is there already", to.display()),
        hint: Some("name another file, or give --force".to_owned()),
    }
}

/// What has come so far, under another name and for its owner's eyes. Dropped, it is gone.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn beside(to: &Path) -> io::Result<Self> {
        let mut path = to.as_os_str().to_owned();
        path.push(format!(".partial-{}", Uuid::new_v4().simple()));
        let path = PathBuf::from(path);
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { file, path })
    }

    /// Gives it its name once it is on the disk.
    fn place(self, to: &Path, force: bool) -> Result<(), Failure> {
        self.file.sync_all()?;
        let flags = if force {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match renameat_with(CWD, &self.path, CWD, to, flags) {
            Err(rustix::io::Errno::EXIST) => return Err(taken(to)),
            renamed => renamed.map_err(io::Error::from)?,
        }
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Ok(File::open(folder)?.sync_all()?)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Once it has its name there is nothing of the old one left.
        let _ = fs::remove_file(&self.path);
    }
}
