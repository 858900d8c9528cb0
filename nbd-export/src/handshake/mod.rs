//! A small NBD client that asks a server what it exports: fixed newstyle, `OPT_GO` and `OPT_LIST`, nothing trusted.
//!
//! Source of the rules: NetworkBlockDevice/nbd `doc/proto.md`. Every wait and every length is bounded.

mod wire;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{Access, ExportName, NbdAddress, tls::ClientTls};
use wire::Reply;
pub use wire::Stream;

/// Bound on one connect, one list or one handshake.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Nobody listens, or the connection broke.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server did not prove who it is, or did not take us for whom we are.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The peer does not speak NBD, or not the dialect we need.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    /// The server does not have, or does not give, this export.
    #[error("server refused with NBD error {code:#010x}: {message}")]
    Refused {
        /// `NBD_REP_ERR_*`.
        code: u32,
        /// The server's words, shortened.
        message: String,
    },
    /// The export is there but not as asked for.
    #[error("export has {what} {found}, expected {expected}")]
    Mismatch {
        /// Which property.
        what: &'static str,
        /// What the server announced.
        found: String,
        /// What we asked for.
        expected: String,
    },
}

/// What a server announced about an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportInfo {
    /// Bytes.
    pub size: u64,
    /// `NBD_FLAG_*` of the transmission phase.
    pub flags: u16,
}

impl ExportInfo {
    /// What the server lets clients do.
    #[must_use]
    pub fn access(&self) -> Access {
        if self.flags & wire::FLAG_READ_ONLY == 0 {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        }
    }
}

/// How a server is dialled.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where it listens.
    pub address: NbdAddress,
    /// How connections to it are encrypted.
    pub security: Security,
}

/// How a connection is encrypted.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By TLS with certificates.
    Certificates(ClientTls),
    /// By TLS with pre-shared keys, which we cannot speak: see [`demands_tls`].
    Keys,
}

impl From<NbdAddress> for Dial {
    fn from(address: NbdAddress) -> Self {
        Self {
            address,
            security: Security::Plain,
        }
    }
}

/// A client in the transmission phase: the server has the device open until this is closed.
pub struct Session {
    stream: Box<dyn Stream>,
    /// What was announced.
    pub info: ExportInfo,
}

impl Session {
    /// Opens an export and checks that size and access are as expected.
    pub async fn confirm(
        server: &Dial,
        name: &ExportName,
        size: u64,
        access: Access,
    ) -> Result<Self, HandshakeError> {
        let session = Self::open(server, name).await?;
        if session.info.size != size {
            let found = session.info.size.to_string();
            return Err(HandshakeError::Mismatch {
                what: "size",
                found,
                expected: size.to_string(),
            });
        }
        if session.info.access() != access {
            let found = format!("{:?}", session.info.access());
            return Err(HandshakeError::Mismatch {
                what: "access",
                found,
                expected: format!("{access:?}"),
            });
        }
        Ok(session)
    }

    /// Opens an export with `NBD_OPT_GO`.
    pub async fn open(server: &Dial, name: &ExportName) -> Result<Self, HandshakeError> {
        bounded(async {
            let mut stream = greet(server).await?;
            wire::send_option(&mut stream, wire::OPT_GO, &wire::go_payload(name)).await?;
            let mut info = None;
            loop {
                match wire::read_reply(&mut stream, wire::OPT_GO).await? {
                    Reply::Info(found) => info = found.or(info),
                    Reply::Ack => break,
                    Reply::Server(_) => {
                        return Err(HandshakeError::Protocol("list entry in answer to OPT_GO"));
                    }
                }
            }
            let info = info.ok_or(HandshakeError::Protocol("OPT_GO without NBD_INFO_EXPORT"))?;
            Ok(Self { stream, info })
        })
        .await
    }

    /// Disconnects cleanly and waits until the server has closed its side.
    pub async fn close(mut self) -> Result<(), HandshakeError> {
        bounded(async {
            self.stream.write_all(&wire::disconnect_request()).await?;
            // A server may close at once or reset; either way it is gone.
            let mut rest = [0; 16];
            while matches!(self.stream.read(&mut rest).await, Ok(count) if count > 0) {}
            Ok(())
        })
        .await
    }
}

/// The names a server lists (at most 65,536).
pub async fn list(server: &Dial) -> Result<Vec<String>, HandshakeError> {
    bounded(async {
        let mut stream = greet(server).await?;
        wire::send_option(&mut stream, wire::OPT_LIST, &[]).await?;
        let mut names = Vec::new();
        loop {
            match wire::read_reply(&mut stream, wire::OPT_LIST).await? {
                Reply::Server(_) if names.len() >= wire::MAX_EXPORTS => {
                    return Err(HandshakeError::Protocol("endless list"));
                }
                Reply::Server(name) => names.push(name),
                Reply::Ack => break,
                Reply::Info(_) => return Err(HandshakeError::Protocol("export info in answer to OPT_LIST")),
            }
        }
        wire::send_option(&mut stream, wire::OPT_ABORT, &[]).await?;
        // The server may acknowledge or just close; waiting for the end keeps its child from lingering.
        let mut rest = [0; 64];
        while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
        Ok(names)
    })
    .await
}

/// Whether a server refuses an export in the clear and agrees to encrypt: as far as we come where it wants pre-shared keys
/// (rustls has none). An error where it does anything else.
pub async fn demands_tls(address: &NbdAddress, name: &ExportName) -> Result<(), HandshakeError> {
    bounded(async {
        let mut stream = greet_plain(address).await?;
        wire::send_option(&mut stream, wire::OPT_GO, &wire::go_payload(name)).await?;
        match wire::read_reply(&mut stream, wire::OPT_GO).await {
            Err(HandshakeError::Refused {
                code: wire::REP_ERR_TLS_REQD,
                ..
            }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(HandshakeError::Protocol("server serves without TLS")),
        }
        agree_on_tls(&mut stream).await
    })
    .await
}

/// Encrypts a connection whose greetings were exchanged, before any other option.
pub async fn encrypt<S: Stream + 'static>(
    mut stream: S,
    tls: &ClientTls,
) -> Result<Box<dyn Stream>, HandshakeError> {
    bounded(async {
        agree_on_tls(&mut stream).await?;
        Ok(Box::new(tls.encrypt(stream).await.map_err(HandshakeError::Tls)?) as Box<dyn Stream>)
    })
    .await
}

async fn agree_on_tls(stream: &mut (impl Stream + ?Sized)) -> Result<(), HandshakeError> {
    wire::send_option(stream, wire::OPT_STARTTLS, &[]).await?;
    match wire::read_reply(stream, wire::OPT_STARTTLS).await? {
        Reply::Ack => Ok(()),
        _ => Err(HandshakeError::Protocol("no plain answer to OPT_STARTTLS")),
    }
}

async fn greet(server: &Dial) -> Result<Box<dyn Stream>, HandshakeError> {
    let stream = greet_plain(&server.address).await?;
    match &server.security {
        Security::Plain => Ok(stream),
        Security::Certificates(tls) => encrypt(stream, tls).await,
        Security::Keys => Err(HandshakeError::Protocol("pre-shared keys are not spoken here")),
    }
}

async fn greet_plain(address: &NbdAddress) -> Result<Box<dyn Stream>, HandshakeError> {
    let mut stream: Box<dyn Stream> = match address.dial() {
        NbdAddress::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        NbdAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    wire::greet(&mut stream).await?;
    Ok(stream)
}

async fn bounded<T>(work: impl Future<Output = Result<T, HandshakeError>>) -> Result<T, HandshakeError> {
    timeout(DEADLINE, work)
        .await
        .unwrap_or(Err(HandshakeError::Timeout(DEADLINE)))
}

#[cfg(test)]
mod tests;
