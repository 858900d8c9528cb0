//! A socket that connections come from: made here, or passed on by the service manager.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, sockopt};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::{NotLoopback, Peer, SocketError, SocketFile};

/// How many connections wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket, and its address.
    Tcp(TcpListener, SocketAddr),
}

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The Unix socket could not be served.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An address that is not served in the clear.
    #[error(transparent)]
    NotLoopback(#[from] NotLoopback),
    /// The TCP address could not be had.
    #[error("cannot listen on {address}; give another port, or end who has it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the service manager says of its sockets makes no sense.
    #[error("cannot take the sockets of the service manager")]
    Manager(#[source] io::Error),
    /// A socket that the service manager passed on cannot be served.
    #[error("cannot serve file descriptor {fd} of the service manager: {why}")]
    Inherited {
        /// Its number.
        fd: i32,
        /// Why.
        why: String,
    },
    /// A socket that the service manager passed on has a name that nothing is served under.
    #[error("a socket of the service manager is named `{name}`; set FileDescriptorName= to one of: {known}")]
    UnknownName {
        /// Its name.
        name: String,
        /// Those that there are.
        known: &'static str,
    },
}

impl Listener {
    /// Listens on a TCP address; port 0 takes a free one. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { address, source };
        let bound = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Self::Tcp(listener, address))
        };
        bound().map_err(failed)
    }

    /// Makes a Unix socket ([`SocketFile::bind`]). Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn unix(path: &Path) -> Result<(SocketFile, Self), ListenError> {
        let (file, listener) = SocketFile::bind(path)?;
        let listener = UnixListener::from_std(listener).map_err(|source| SocketError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok((file, Self::Unix(listener)))
    }

    /// A socket that somebody else opened and listens on.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<Self, ListenError> {
        let number = fd.as_raw_fd();
        let failed = |why: String| ListenError::Inherited { fd: number, why };
        let of_io = |error: io::Error| failed(error.to_string());
        let listens = sockopt::socket_acceptconn(&fd).map_err(|error| of_io(error.into()))?;
        if !listens {
            return Err(failed("it does not listen".to_owned()));
        }
        match sockopt::socket_domain(&fd).map_err(|error| of_io(error.into()))? {
            AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true).map_err(of_io)?;
                Ok(Self::Unix(UnixListener::from_std(listener).map_err(of_io)?))
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(fd);
                let address = listener.local_addr().map_err(of_io)?;
                listener.set_nonblocking(true).map_err(of_io)?;
                Ok(Self::Tcp(
                    TcpListener::from_std(listener).map_err(of_io)?,
                    address,
                ))
            }
            other => Err(failed(format!("its address family is {}", other.as_raw()))),
        }
    }

    /// The address, where it is one of TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(_, address) => Some(*address),
        }
    }

    /// The next connection, and who is at its other end.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        Ok(match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::from(stream.peer_cred()?);
                (Stream::Unix(stream), peer)
            }
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                (Stream::Tcp(stream), Peer::Tcp(address))
            }
        })
    }
}

/// A connection as it was accepted.
pub(crate) enum Stream {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}
