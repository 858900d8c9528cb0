//! Keeps two writers of one configuration from losing each other's change.

use std::ffi::OsString;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::StepsError;

/// A change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// The lock on a configuration: the kernel's, on a file `….lock` beside it that stays and is empty. It ends with this
/// value, or with the process, however that dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of the configuration `target`, bounded. A lock file that is made belongs to the owner of `old`,
    /// so that others who may write the configuration may lock it as well.
    pub(super) fn take(target: &Path, old: Option<&Metadata>) -> Result<Self, StepsError> {
        Self::take_within(target, old, PATIENCE)
    }

    pub(super) fn take_within(
        target: &Path,
        old: Option<&Metadata>,
        patience: Duration,
    ) -> Result<Self, StepsError> {
        let path = beside(target);
        let file = open(&path, old).map_err(StepsError::io("open the lock", &path))?;
        let until = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < until => park_timeout(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let seconds = patience.as_secs();
                    return Err(StepsError::Locked { path, seconds });
                }
                Err(error) => return Err(StepsError::io("lock", &path)(error.into())),
            }
        }
    }
}

fn beside(target: &Path) -> PathBuf {
    let mut path = OsString::from(target);
    path.push(".lock");
    path.into()
}

fn open(path: &Path, old: Option<&Metadata>) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            if let Some(old) = old {
                // Where that is not allowed, the lock is as private as a new file.
                let owned = fchown(&file, Some(old.uid()), Some(old.gid()));
                let mode = Permissions::from_mode(old.mode() & 0o666);
                let _ = owned.and_then(|()| file.set_permissions(mode));
            }
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}
