//! A new connection: TCP, TLS, and the task that drives it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::super::{Endpoint, Patience, TrustError};
use super::super::{Thumbprint, Trust, client_config};
use super::HttpError;

/// How connections to one host are made.
pub(super) struct Connector {
    endpoint: Endpoint,
    tls: TlsConnector,
    is_skipped: bool,
    /// Of the certificate that was verified last; where verification is skipped, of the one that was shown.
    thumbprint: Mutex<Option<Thumbprint>>,
}

/// One connection. Dropped, it is closed, whatever is on its way.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connector {
    /// Blocks on the file system.
    pub(super) fn new(endpoint: Endpoint, trust: &Trust) -> Result<Self, TrustError> {
        let config: ClientConfig = client_config(trust)?;
        Ok(Self {
            endpoint,
            tls: TlsConnector::from(Arc::new(config)),
            is_skipped: *trust == Trust::Skipped,
            thumbprint: Mutex::new(None),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn thumbprint(&self) -> Option<Thumbprint> {
        *self.thumbprint.lock()
    }

    pub(super) async fn connect(&self, patience: &Patience) -> Result<Connection, HttpError> {
        if self.is_skipped {
            warn!(endpoint = %self.endpoint,
                "the certificate is not verified: whoever is in between reads the password and can change every byte");
        }
        timeout(patience.connect, self.connection())
            .await
            .unwrap_or_else(|_| {
                Err(HttpError::ConnectTooSlow {
                    endpoint: self.endpoint.to_string(),
                    waited: patience.connect,
                })
            })
    }

    async fn connection(&self) -> Result<Connection, HttpError> {
        let stream = self.secured(self.tcp().await?).await?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|error| HttpError::Request { source: error.into() })?;
        // Its error reaches whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn tcp(&self) -> Result<TcpStream, HttpError> {
        let unreachable = |source| HttpError::Unreachable {
            endpoint: self.endpoint.to_string(),
            source,
        };
        let address = (self.endpoint.host(), self.endpoint.port());
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    async fn secured(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HttpError> {
        let name = ServerName::try_from(self.endpoint.host().to_owned())
            .map_err(|error| HttpError::Request { source: error.into() })?;
        let connected = self.tls.connect(name, stream).await;
        let stream = connected.map_err(|error| HttpError::of_handshake(self.endpoint.to_string(), error))?;
        if let Some([certificate, ..]) = stream.get_ref().1.peer_certificates() {
            *self.thumbprint.lock() = Some(Thumbprint::of(certificate));
        }
        Ok(stream)
    }
}
