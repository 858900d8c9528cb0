//! A connected byte stream, plain or encrypted, whose waits are bounded and can be cancelled.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio_rustls::rustls::ClientConnection;

use super::super::Cancel;
use super::error::NbdError;
use super::uri::NbdEndpoint;

/// How long one system call may block before the flags are looked at again.
const SLICE: Duration = Duration::from_millis(100);

/// A connection, encrypted from [`Socket::encrypt`] on.
#[derive(Debug)]
pub(super) struct Socket {
    plain: Plain,
    tls: Option<Box<ClientConnection>>,
}

/// A TCP or Unix connection.
#[derive(Debug)]
struct Plain {
    stream: Stream,
    patience: Duration,
    cancel: Cancel,
    /// How long a raised flag is ignored, so that what is under way can end in order.
    grace: Duration,
    cancelled_since: Option<Instant>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a wait ended without bytes; travels inside `io::Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WaitEnded {
    #[error("cancelled")]
    Cancelled,
    #[error("silent")]
    Silent,
}

impl Socket {
    /// Connects within `patience`, tries every address of a name.
    pub(super) fn connect(endpoint: &NbdEndpoint, patience: Duration) -> Result<Self, NbdError> {
        let connect = |source| NbdError::Connect {
            endpoint: endpoint.to_string(),
            source,
        };
        let stream = match endpoint {
            NbdEndpoint::Tcp { host, port } => Stream::Tcp(connect_tcp(host, *port, patience, endpoint)?),
            NbdEndpoint::Unix { socket } => Stream::Unix(connect_unix(socket, patience).map_err(connect)?),
        };
        let plain = Plain {
            stream,
            patience,
            cancel: Cancel::new(),
            grace: Duration::ZERO,
            cancelled_since: None,
        };
        plain.set_slices().map_err(connect)?;
        Ok(Self { plain, tls: None })
    }

    /// Makes the connection an encrypted one; the server must have agreed.
    pub(super) fn encrypt(&mut self, mut tls: ClientConnection) -> io::Result<()> {
        while tls.is_handshaking() {
            tls.complete_io(&mut self.plain)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Fills the buffer. The kernel comes back only when it is full, or a time is over: a payload comes in many pieces, and each return for
    /// a few of them costs a change of the thread.
    pub(super) fn fill(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        if self.tls.is_some() {
            return self.read_exact(buffer);
        }
        while !buffer.is_empty() {
            let count = self.plain.wait(|stream| stream.receive_all(buffer))?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    /// From now on, a wait without a byte ends after this long.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.plain.patience = patience;
    }

    /// From now on, a wait ends `grace` after `cancel` was noticed to be raised.
    pub(super) fn set_cancel(&mut self, cancel: Cancel, grace: Duration) {
        let plain = &mut self.plain;
        (plain.cancel, plain.grace, plain.cancelled_since) = (cancel, grace, None);
    }
}

impl Stream {
    fn receive_all(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        };
        Ok(rustix::net::recv(socket, buffer, RecvFlags::WAITALL)?.1)
    }
}

impl Plain {
    fn set_slices(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SLICE))?;
                stream.set_write_timeout(Some(SLICE))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(SLICE))?;
                stream.set_write_timeout(Some(SLICE))
            }
        }
    }

    /// Repeats a call that may time out, until it moves bytes, fails, or the wait is over.
    fn wait(&mut self, mut call: impl FnMut(&mut Stream) -> io::Result<usize>) -> io::Result<usize> {
        let mut started = None;
        loop {
            match call(&mut self.stream) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
            let started = *started.get_or_insert_with(Instant::now);
            if self.cancel.is_cancelled() {
                let since = *self.cancelled_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.grace {
                    return Err(io::Error::other(WaitEnded::Cancelled));
                }
            }
            // The first slice had passed before the clock started; it is part of the wait.
            if started.elapsed() + SLICE >= self.patience {
                return Err(io::Error::other(WaitEnded::Silent));
            }
        }
    }
}

fn connect_tcp(
    host: &str,
    port: u16,
    patience: Duration,
    endpoint: &NbdEndpoint,
) -> Result<TcpStream, NbdError> {
    let connect = |source| NbdError::Connect {
        endpoint: endpoint.to_string(),
        source,
    };
    let deadline = Instant::now() + patience;
    let mut last = None;
    for address in (host, port).to_socket_addrs().map_err(connect)? {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || NbdError::NoAddress {
            endpoint: endpoint.to_string(),
        },
        connect,
    ))
}

/// A Unix connect waits without end for a listener that accepts nobody, unless the send time-out bounds it.
fn connect_unix(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(rustix::io::Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.plain.read(buffer),
            Some(tls) => tokio_rustls::rustls::Stream::new(tls.as_mut(), &mut self.plain).read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.plain.write(bytes),
            Some(tls) => tokio_rustls::rustls::Stream::new(tls.as_mut(), &mut self.plain).write(bytes),
        }
    }

    /// Of a plain connection nothing is held back; of an encrypted one the end of a record may be.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tokio_rustls::rustls::Stream::new(tls.as_mut(), &mut self.plain).flush(),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|stream| match stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        })
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|stream| match stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
