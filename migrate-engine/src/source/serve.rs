//! A disk served as NBD on a private Unix socket by a qemu-nbd of ours, as long as the handle lives.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::machine::{Content, SourceDisk};
use super::{Options, SourceError, blocking, qemu};
use crate::process::{Command, Daemon, QEMU_NBD};

/// What every NBD server says first.
const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
/// The longest path of a Unix socket.
const LONGEST_SOCKET: usize = 107;
/// How long a server of ours may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a starting server is tried.
const RETRY: Duration = Duration::from_millis(10);

/// A disk that can be read at [`ServedDisk::uri`]. Dropping it kills the server and removes the socket.
#[derive(Debug)]
pub struct ServedDisk {
    uri: String,
    size: Option<u64>,
    server: Option<Server>,
    // Last: what was unpacked for the disk goes after its server.
    _disk: SourceDisk,
}

#[derive(Debug)]
struct Server {
    daemon: Daemon,
    socket: PathBuf,
    // After the daemon: the folder goes when nobody uses it.
    _dir: TempDir,
}

impl ServedDisk {
    /// Where the disk is read: `nbd+unix:///?socket=…` for a server of ours, else as it was given.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Its size in bytes, where the source knows it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The socket of the default export (``), where the server is ours.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.server.as_ref().map(|server| server.socket.as_path())
    }

    /// The process id of the server, where it is ours.
    #[must_use]
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().and_then(|server| server.daemon.id())
    }

    /// The last words of the server: where reading failed, the reason stands here and not in the NBD error.
    #[must_use]
    pub fn server_words(&self) -> String {
        self.server
            .as_ref()
            .map(|server| server.daemon.stderr())
            .unwrap_or_default()
    }

    /// Stops the server in good order and waits for its end.
    ///
    /// # Errors
    /// `Serve` where the end cannot be followed; the server is killed then.
    pub async fn stop(mut self) -> Result<(), SourceError> {
        let Some(Server { daemon, _dir, .. }) = self.server.take() else {
            return Ok(());
        };
        let stopped = daemon.stop(GRACE).await;
        stopped.map_err(|source| SourceError::Serve {
            disk: self._disk.label.clone(),
            source,
        })?;
        Ok(())
    }
}

impl SourceDisk {
    /// Serves the disk, read-only, to up to `options.connections` clients at once. May be called again: each call
    /// starts a server of its own. A disk of someone else's NBD server is passed through.
    ///
    /// # Errors
    /// `Changed` where a file is not the inspected one any more, `Serve` or `NotReady` where the server does not come
    /// up, `Io` or `Spec` for the run folder. Neither process nor file is left behind.
    pub async fn serve(&self, options: &Options) -> Result<ServedDisk, SourceError> {
        let node = match &self.content {
            Content::Remote(uri) => {
                return Ok(ServedDisk {
                    uri: uri.clone(),
                    size: None,
                    server: None,
                    _disk: self.clone(),
                });
            }
            Content::Node { node, .. } => node,
            Content::Packed(_) => {
                return Err(SourceError::unsupported(
                    &self.label,
                    "is compressed and was not unpacked: open its package to read it",
                ));
            }
        };
        self.verify_unchanged().await?;
        let dir = private_dir(&options.run_dir)?;
        let socket = dir.path().join("nbd");
        let daemon = Command::new(QEMU_NBD)
            .args(["--read-only", "--persistent"])
            .arg(format!("--shared={}", options.connections.max(1)))
            .arg(prefixed("--socket=", &socket))
            .arg(qemu::file_name(node))
            .daemon()
            .await
            .map_err(|source| SourceError::Serve {
                disk: self.label.clone(),
                source,
            })?;
        let mut server = Server {
            daemon,
            socket,
            _dir: dir,
        };
        self.await_greeting(&mut server, options.ready_within).await?;
        // qemu has opened the files by now, and keeps them: a swap from here on changes nothing.
        self.verify_unchanged().await?;
        let uri = format!("nbd+unix:///?socket={}", percent_encoded(&server.socket));
        Ok(ServedDisk {
            uri,
            size: self.capacity_bytes,
            server: Some(server),
            _disk: self.clone(),
        })
    }

    /// Looks again at each file that the disk is made of.
    ///
    /// # Errors
    /// `Changed` where one is not the inspected one any more, `Io` where nothing is left in its place.
    pub(super) async fn verify_unchanged(&self) -> Result<(), SourceError> {
        let stamps: Vec<_> = self.stamps().cloned().collect();
        blocking::run(move |_| stamps.iter().try_for_each(super::file::Stamp::verify)).await
    }

    /// Waits until the server greets, ends, or the time is over.
    async fn await_greeting(&self, server: &mut Server, within: Duration) -> Result<(), SourceError> {
        let socket = server.socket.clone();
        let greeted = tokio::time::timeout(within, greeting(&socket));
        tokio::select! {
            died = server.daemon.died() => Err(SourceError::Serve { disk: self.label.clone(), source: died }),
            greeted = greeted => greeted.map_err(|_| SourceError::NotReady {
                disk: self.label.clone(),
                seconds: within.as_secs(),
                stderr: server.daemon.stderr(),
            }),
        }
    }
}

/// Tries until the server on `socket` says the first words of the protocol.
async fn greeting(socket: &Path) {
    loop {
        let mut words = [0_u8; GREETING.len()];
        if let Ok(mut stream) = UnixStream::connect(socket).await
            && stream.read_exact(&mut words).await.is_ok()
            && words == *GREETING
        {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A folder of our own for one socket, closed to everyone else.
fn private_dir(run_dir: &Path) -> Result<TempDir, SourceError> {
    let dir = tempfile::Builder::new()
        .prefix("source-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(run_dir)
        .map_err(SourceError::io("making a folder for a socket in", run_dir))?;
    if dir.path().as_os_str().len() + "/nbd".len() > LONGEST_SOCKET {
        let reason = format!("a socket's path holds {LONGEST_SOCKET} bytes: name a shorter run folder");
        return Err(SourceError::Spec {
            spec: run_dir.display().to_string(),
            reason,
        });
    }
    Ok(dir)
}

fn prefixed(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

/// A path for the query of a URI.
fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}
