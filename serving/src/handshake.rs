//! TLS handshakes, within bounds: so many at once, and none for ever.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use super::Certificate;

/// How long a handshake keeps its turn after the client's hello: our own work in it is done in a few milliseconds.
const TURN: Duration = Duration::from_millis(250);

/// Who a client is by its certificate: its first DNS name, else the SHA-256 of the certificate. An authority that the operator named
/// has vouched for it. An extension of each request on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(Arc<str>);

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClientName {
    pub(crate) fn of(stream: &TlsStream<TcpStream>) -> Option<Self> {
        let shown = stream.get_ref().1.peer_certificates()?.first()?;
        let parsed = webpki::EndEntityCert::try_from(shown).ok();
        let named = parsed.and_then(|parsed| parsed.valid_dns_names().next().map(str::to_owned));
        let name = named.unwrap_or_else(|| {
            let digest = Sha256::digest(shown);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{hex}")
        });
        Some(Self(name.into()))
    }
}

/// Shows `certificate` to whoever is at the other end, once it is its turn.
pub(crate) async fn shake(
    stream: TcpStream,
    certificate: &Certificate,
    turns: &Semaphore,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let shaken = async {
        // Who has not even said hello takes nobody's turn, and who does not go on keeps one for a moment only.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let turn = turns.acquire().await.map_err(io::Error::other)?;
        let mut rest = std::pin::pin!(hello.into_stream(certificate.config()));
        if let Ok(shaken) = tokio::time::timeout(TURN, rest.as_mut()).await {
            return shaken;
        }
        drop(turn);
        rest.await
    };
    match tokio::time::timeout(limit, shaken).await {
        Ok(shaken) => shaken,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the handshake took too long",
        )),
    }
}
