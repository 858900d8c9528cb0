//! The private directory of one server: its sockets, its log, and the lock that serialises commands.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};

use crate::ExportError;

const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_RETRY: Duration = Duration::from_millis(3);
/// `sun_path` has 108 bytes; the longest socket name we add is well under 16.
const MAX_SOCKET_PATH: usize = 107;

/// A directory of mode 0700 that belongs to us.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeDir(PathBuf);

/// Held while a command runs; another process, or another task, waits. Released by the kernel when we die.
pub(crate) struct CommandLock(#[expect(dead_code, reason = "held for its lock")] File);

impl RuntimeDir {
    /// Creates the directory, or takes the one that is there if nobody else can write to it.
    pub(crate) fn prepare(path: &Path) -> Result<Self, ExportError> {
        plain_absolute(path)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(ExportError::io(format!(
                "creating runtime directory {}",
                path.display()
            )))?;
        let examined = || ExportError::io(format!("examining runtime directory {}", path.display()));
        let metadata = fs::symlink_metadata(path).map_err(examined())?;
        let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
        if !ours || metadata.permissions().mode() & 0o077 != 0 {
            let problem = format!("{} must be a directory of our own with mode 0700", path.display());
            return Err(ExportError::Config { problem });
        }
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path for a Unix socket in here, refused if the kernel could not hold it.
    pub(crate) fn socket(&self, name: &str) -> Result<PathBuf, ExportError> {
        let path = self.file(name);
        check_socket_path(&path)?;
        Ok(path)
    }

    /// Waits for the other commands of all processes; bounded.
    pub(crate) async fn lock(&self) -> Result<CommandLock, ExportError> {
        let doing = || ExportError::io(format!("locking runtime directory {}", self.0.display()));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file("lock"));
        let file = file.map_err(doing())?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(CommandLock(file)),
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => {}
                Err(error) => return Err(doing()(error.into())),
            }
            if Instant::now() > deadline {
                return Err(ExportError::Locked { path: self.0.clone() });
            }
            sleep(LOCK_RETRY).await;
        }
    }

    /// The marker that our server processes carry in their environment, and nobody else does.
    pub(crate) fn mark(&self) -> String {
        format!("{}={}", crate::process::MARK, self.0.display())
    }

    /// The end of a log, for error messages.
    pub(crate) fn log_tail(&self, name: &str) -> String {
        let text = fs::read(self.file(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join("; ")
    }
}

/// Refuses socket paths that do not fit `sockaddr_un` (unix(7)) or that a server's option parser would split.
pub(crate) fn check_socket_path(path: &Path) -> Result<(), ExportError> {
    plain_absolute(path)?;
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        let problem = format!(
            "socket path {} is longer than {MAX_SOCKET_PATH} bytes",
            path.display()
        );
        return Err(ExportError::Config { problem });
    }
    Ok(())
}

/// Our own directories go into command lines and configuration files: nothing in them may need quoting.
pub(crate) fn plain_absolute(path: &Path) -> Result<(), ExportError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && text.chars().all(plain) && !text.contains("..") => Ok(()),
        _ => Err(ExportError::Config {
            problem: format!("path {path:?} is not plain and absolute"),
        }),
    }
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ExportError::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
