//! The sockets that the daemon serves on: the service manager's where it passed some, else its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, sockopt};
use tokio::net::{TcpListener, UnixListener};

use super::{AppError, inherited};
use crate::auth::{SocketFile, require_loopback};
use crate::config::Config;

/// A socket that connections come from.
#[derive(Debug)]
pub(super) enum Socket {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// Every socket that is served, and the files to remove at the end.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) sockets: Vec<Socket>,
    pub(super) files: Vec<SocketFile>,
}

impl Listeners {
    pub(super) fn open(config: &Config) -> Result<Self, AppError> {
        let passed = inherited::take()?;
        if passed.is_empty() {
            return Self::bind(config);
        }
        let sockets = passed.into_iter().map(adopt).collect::<Result<_, _>>()?;
        Ok(Self {
            sockets,
            files: Vec::new(),
        })
    }

    fn bind(config: &Config) -> Result<Self, AppError> {
        let (mut sockets, mut files) = (Vec::new(), Vec::new());
        if let Some(path) = &config.socket {
            let (file, listener) = SocketFile::bind(path)?;
            sockets.push(Socket::Unix(UnixListener::from_std(listener)?));
            files.push(file);
            tracing::info!(socket = %path.display(), "listening");
        }
        if let Some(address) = config.listen {
            sockets.push(Socket::Tcp(listen_on(address)?));
        }
        Ok(Self { sockets, files })
    }
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, AppError> {
    require_loopback(address)?;
    let failed = |source: io::Error| AppError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    tracing::info!(address = %listener.local_addr().map_err(failed)?, "listening");
    Ok(listener)
}

fn adopt(fd: OwnedFd) -> Result<Socket, AppError> {
    let number = fd.as_raw_fd();
    let failed = |why: String| AppError::Inherited { fd: number, why };
    let of_io = |error: io::Error| failed(error.to_string());
    let listens = sockopt::socket_acceptconn(&fd).map_err(|error| of_io(error.into()))?;
    if !listens {
        return Err(failed("it does not listen".to_owned()));
    }
    match sockopt::socket_domain(&fd).map_err(|error| of_io(error.into()))? {
        AddressFamily::UNIX => {
            let listener = std::os::unix::net::UnixListener::from(fd);
            listener.set_nonblocking(true).map_err(of_io)?;
            tracing::info!(fd = number, "listening on a socket of the service manager");
            Ok(Socket::Unix(UnixListener::from_std(listener).map_err(of_io)?))
        }
        AddressFamily::INET | AddressFamily::INET6 => {
            let listener = std::net::TcpListener::from(fd);
            let address = listener.local_addr().map_err(of_io)?;
            require_loopback(address)?;
            listener.set_nonblocking(true).map_err(of_io)?;
            tracing::info!(fd = number, %address, "listening on a socket of the service manager");
            Ok(Socket::Tcp(TcpListener::from_std(listener).map_err(of_io)?))
        }
        other => Err(failed(format!("its address family is {}", other.as_raw()))),
    }
}
