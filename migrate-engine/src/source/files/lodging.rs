//! Folders of one cycle, for its sockets and what it unpacks: gone with it, or found again after its process was killed.
//!
//! A folder's name tells whose it is; a lock on it, which goes with the process, tells whether anybody still is there.

use std::fs::{File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use crate::model::MachineSpec;
use crate::source::{Options, SourceError};

/// How much of a digest tells owners and machines apart; a socket's path must stay short.
const TENANT: usize = 16;

/// How the names of folders begin that are of this owner and for this machine.
pub(super) fn tenant(machine: &MachineSpec, owner: &str) -> String {
    let digest = blake3::hash(format!("{owner}\0{}", machine.path).as_bytes()).to_hex();
    format!("cycle-{}-", &digest[..TENANT])
}

/// The folders of a living cycle.
#[derive(Debug)]
pub(super) struct Lodgings([Lodging; 2]);

#[derive(Debug)]
struct Lodging {
    dir: TempDir,
    /// Held as long as this lives.
    _lock: File,
}

impl Lodgings {
    /// A folder in each of those for sockets and for unpacked files.
    ///
    /// # Errors
    /// `Io`; nothing is left then.
    pub(super) fn make([run, scratch]: [&Path; 2], tenant: &str) -> Result<Self, SourceError> {
        Ok(Self([
            Lodging::make(run, tenant)?,
            Lodging::make(scratch, tenant)?,
        ]))
    }

    /// The same options, with these folders.
    pub(super) fn options(&self, options: &Options) -> Options {
        let [run, scratch] = &self.0;
        Options {
            run_dir: run.dir.path().to_owned(),
            scratch_dir: scratch.dir.path().to_owned(),
            ..options.clone()
        }
    }

    /// Removes them, with all that is in them.
    ///
    /// # Errors
    /// `Io` with the first that could not be removed; each is tried.
    pub(super) fn close(self) -> Result<(), SourceError> {
        self.0.into_iter().map(Lodging::close).fold(Ok(()), Result::and)
    }
}

impl Lodging {
    fn make(parent: &Path, tenant: &str) -> Result<Self, SourceError> {
        let dir = tempfile::Builder::new()
            .prefix(tenant)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(SourceError::io("making a folder in", parent))?;
        let lock = File::open(dir.path()).map_err(SourceError::io("opening", dir.path()))?;
        lock.lock().map_err(SourceError::io("locking", dir.path()))?;
        Ok(Self { dir, _lock: lock })
    }

    fn close(self) -> Result<(), SourceError> {
        let path = self.dir.path().to_owned();
        match self.dir.close() {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(SourceError::io("removing", path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Removes the folders of `tenant` in `parent` that no living cycle holds. Repeating it is harmless.
///
/// # Errors
/// `Io` with the first that could not be removed.
pub(super) fn clear(parent: &Path, tenant: &str) -> Result<(), SourceError> {
    let entries = std::fs::read_dir(parent).map_err(SourceError::io("looking into", parent))?;
    for entry in entries {
        let entry = entry.map_err(SourceError::io("looking into", parent))?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(tenant.as_bytes())
        {
            let path = entry.path();
            match clear_one(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(SourceError::io("removing", path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn clear_one(path: &Path) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    // In a folder that everybody may write to, others could have made one of this name.
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    match File::open(path)?.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => {
            tracing::info!(folder = %path.display(), "removes what an earlier cycle left");
            std::fs::remove_dir_all(path)
        }
    }
}
