//! TLS handshakes, within bounds: so many at once, and none for ever.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Certificate;

/// Shows `certificate` to whoever is at the other end, once it is its turn.
pub(crate) async fn shake(
    stream: TcpStream,
    certificate: &Certificate,
    turns: &Semaphore,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let shaken = async {
        let _turn = turns.acquire().await.map_err(io::Error::other)?;
        TlsAcceptor::from(certificate.config()).accept(stream).await
    };
    match tokio::time::timeout(limit, shaken).await {
        Ok(shaken) => shaken,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the handshake took too long",
        )),
    }
}
