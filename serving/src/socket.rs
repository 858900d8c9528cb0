//! The Unix socket's file: made with its mode, taken over from a dead daemon only, removed by its owner only.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;
/// Everybody may see that there is a daemon.
const DIRECTORY_MODE: u32 = 0o755;
/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers on it.
    #[error("another daemon answers on socket {path}; stop it, or name another socket", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("{path} is there and is no socket; remove it, or name another socket", path = path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The file system or the kernel stood in the way.
    #[error("cannot serve on socket {path}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A socket's file while its daemon lives; dropped, it is gone, unless another daemon has taken the name meanwhile.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Held open, so that the kernel gives its inode number to no other file.
    inode: OwnedFd,
}

impl SocketFile {
    /// Makes the socket at `path` and its directory. A file that a dead daemon left behind is replaced; one that
    /// somebody answers on is not.
    ///
    /// # Errors
    /// [`SocketError`]; nothing was changed then, but that the directory may have been made.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            std::fs::create_dir_all(directory).map_err(failed)?;
            std::fs::set_permissions(directory, PermissionsExt::from_mode(DIRECTORY_MODE)).map_err(failed)?;
        }
        remove_stale(path)?;
        let listener = listen(path).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inode = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let file = Self {
            path: path.to_owned(),
            inode,
        };
        std::fs::set_permissions(path, PermissionsExt::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok((file, listener))
    }
}

impl SocketFile {
    fn is_ours(&self) -> bool {
        match (rustix::fs::fstat(&self.inode), rustix::fs::lstat(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(socket = %self.path.display(), %error, "cannot remove the socket's file");
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // Only a refusal proves that nobody has it: a full backlog or a denied permission does not.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
    }
}

/// Binds with the mode set beforehand (unix(7): the file gets the socket's mode), so it is never wider than it ends as.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_and_its_directory_have_their_modes_and_go_with_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/volumed.sock");
        let (file, _listener) = SocketFile::bind(&path).unwrap();
        assert_eq!(mode(&path), SOCKET_MODE);
        assert_eq!(mode(path.parent().unwrap()), DIRECTORY_MODE);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_somebody_answers_on_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _standing = SocketFile::bind(&path).unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(SocketError::InUse { .. })));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_its_owner_no_longer_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (dead, listener) = SocketFile::bind(&path).unwrap();
        drop(listener);
        let _standing = SocketFile::bind(&path).unwrap();
        drop(dead);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            SocketFile::bind(&path),
            Err(SocketError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
