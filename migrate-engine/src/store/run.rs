//! A run of the engine: a folder of its own for sockets and unpacked disks, locked as long as the process lives.
//!
//! A folder whose lock is free belongs to a run that was killed, and is found by the next one. All runs that share a
//! runtime directory take its lock for the moment in which folders are made and judged, so that a folder without a lock
//! yet is never taken for a dead one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "run-";
const LOCK: &str = "lock";
/// Where a run notes its scratch folder, before it makes it.
const SCRATCH: &str = "scratch";
const SCRATCH_PREFIX: &str = "migrate-engine-";

/// A run's folder could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct RunError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError { doing, path, source }
}

/// A run that lives: this one. Its folders go with it.
#[derive(Debug)]
pub struct Run {
    pub(super) dir: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) _lock: File,
}

/// A run that was killed; nobody else sees it as dead while this lives.
#[derive(Debug)]
pub struct DeadRun {
    dir: PathBuf,
    _lock: File,
}

impl Run {
    /// Begins a run with folders in `runtime_dir`, which is made where it is not there, and in `scratch_dir`; and finds
    /// those that were killed.
    ///
    /// # Errors
    /// Where a folder cannot be made or locked.
    pub fn begin(runtime_dir: &Path, scratch_dir: &Path) -> Result<(Self, Vec<DeadRun>), RunError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(runtime_dir);
        made.map_err(failed("make runtime directory", runtime_dir))?;
        let gate = runtime_dir.join("runs.lock");
        let gate = lock_file(&gate).map_err(failed("open", &gate))?;
        flock(&gate, FlockOperation::LockExclusive)
            .map_err(|e| failed("lock runtime directory", runtime_dir)(e.into()))?;
        let dead = dead_runs(runtime_dir).map_err(failed("look through runtime directory", runtime_dir))?;

        let name = uuid::Uuid::new_v4().simple().to_string();
        let dir = runtime_dir.join(format!("{PREFIX}{}", &name[..12]));
        let made = make_private(&dir).and_then(|()| locked(&dir));
        let lock = made.map_err(failed("make the folder of this run", &dir))?;
        let lock = lock.ok_or_else(|| failed("lock", &dir)(io::ErrorKind::WouldBlock.into()))?;
        let run = Self {
            scratch: scratch_dir.join(format!("{SCRATCH_PREFIX}{name}")),
            dir,
            _lock: lock,
        };
        let noted = fs::write(run.dir.join(SCRATCH), run.scratch.as_os_str().as_encoded_bytes());
        noted
            .and_then(|()| make_private(&run.scratch))
            .map_err(failed("make scratch folder", &run.scratch))?;
        Ok((run, dead))
    }

    /// The run's folder, short enough for sockets in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's folder for large files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// By what records name the run.
    #[must_use]
    pub fn id(&self) -> String {
        self.dir.display().to_string()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        remove(&self.dir, &self.scratch);
    }
}

impl DeadRun {
    /// By what records name the run.
    #[must_use]
    pub fn id(&self) -> String {
        self.dir.display().to_string()
    }

    /// Removes its folders. Not to be called while something of the run is still to be ended: a run whose folder is gone
    /// is forgotten.
    pub fn forget(self) {
        let noted = fs::read(self.dir.join(SCRATCH)).unwrap_or_default();
        let scratch = PathBuf::from(String::from_utf8_lossy(&noted).into_owned());
        remove(&self.dir, &scratch);
    }
}

/// The folder in scratch space goes first: the note about it is in the other one.
fn remove(dir: &Path, scratch: &Path) {
    let ours = scratch
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH_PREFIX));
    for folder in [scratch, dir] {
        let is_ours = |found: &fs::Metadata| {
            found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && (folder == dir || ours)
        };
        if !fs::symlink_metadata(folder).is_ok_and(|found| is_ours(&found)) {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(folder) {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove a folder of the engine");
        }
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

fn lock_file(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// The lock of a run's folder; `None` where its process lives.
fn locked(dir: &Path) -> io::Result<Option<File>> {
    let file = lock_file(&dir.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn dead_runs(runtime_dir: &Path) -> io::Result<Vec<DeadRun>> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(runtime_dir)? {
        let entry = entry?;
        let is_run = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_run || !entry.file_type()?.is_dir() {
            continue;
        }
        let dir = entry.path();
        match locked(&dir) {
            Ok(Some(lock)) => dead.push(DeadRun { dir, _lock: lock }),
            Ok(None) => {}
            // Its own run removes it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dead)
}
