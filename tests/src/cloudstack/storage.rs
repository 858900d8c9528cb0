//! The primary storage: a raw, sparse file for each volume that was ever attached, and one for each snapshot.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use uuid::Uuid;

use super::refusal::Refusal;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Storage {
    directory: PathBuf,
    /// Removes the directory where it is ours.
    _owned: Option<TempDir>,
}

impl Storage {
    /// In this directory, or in one of its own that goes with it.
    pub(super) fn at(directory: Option<PathBuf>) -> io::Result<Self> {
        match directory {
            Some(directory) => {
                fs::create_dir_all(&directory)?;
                Ok(Self {
                    directory: directory.canonicalize()?,
                    _owned: None,
                })
            }
            None => {
                let owned = TempDir::with_prefix("cloudstack-")?;
                Ok(Self {
                    directory: owned.path().canonicalize()?,
                    _owned: Some(owned),
                })
            }
        }
    }

    /// The file of a volume or a snapshot.
    pub(super) fn file(&self, id: Uuid) -> PathBuf {
        self.directory.join(format!("{id}.raw"))
    }

    /// Makes the file of a volume, or changes its size. What it holds stays.
    pub(super) fn resize(&self, id: Uuid, size: u64) -> Result<(), Refusal> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file(id));
        opened
            .and_then(|file: File| file.set_len(size))
            .map_err(|error| failed("resize", id, &error))
    }

    /// Copies content and size over the file of another volume or snapshot, holes and all.
    pub(super) async fn copy(&self, from: Uuid, to: Uuid) -> Result<(), Refusal> {
        let (from_file, to_file) = (self.file(from), self.file(to));
        let copied = tokio::task::spawn_blocking(move || copy(&from_file, &to_file)).await;
        copied
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| failed("copy", from, &error))
    }

    /// Removes a file; one that never was is gone too.
    pub(super) fn remove(&self, id: Uuid) -> Result<(), Refusal> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", id, &error)),
            _ => Ok(()),
        }
    }
}

/// Onto the same inode where there is one: it may be plugged in.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let done = Command::new("cp")
        .args(["--reflink=auto", "--sparse=always", "--"])
        .arg(from)
        .arg(to)
        .output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&done.stderr).into_owned(),
    ))
}

fn failed(what: &str, id: Uuid, error: &io::Error) -> Refusal {
    Refusal::runtime(format!(
        "Unable to {what} volume {id} on the primary storage: {error}"
    ))
}
