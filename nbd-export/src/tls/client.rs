//! Our side of a TLS connection to an export.

use std::{io, path::Path, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName},
    },
};

use super::files::{AUTHORITY, CLIENT_CERTIFICATE, CLIENT_KEY, CredentialsError, certificates, key};

/// Whom we trust, who we are, and the name that the server must prove.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl ClientTls {
    /// Reads a folder of certificates.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn new(folder: &Path, server: &str) -> Result<Self, CredentialsError> {
        let server = ServerName::try_from(server.to_owned()).map_err(|_| {
            CredentialsError::new(folder, format!("no certificate can have the name {server:?}"))
        })?;
        let config = client_config(authorities(folder)?, folder, Some(folder))?;
        Ok(Self {
            config: Arc::new(config),
            server,
        })
    }

    /// Encrypts a connection whose server has agreed to that.
    pub(crate) async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.server.clone(), stream).await
    }
}

/// The authorities of a folder (`ca-cert.pem`).
///
/// # Errors
/// Where they cannot be read.
pub fn authorities(folder: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    certificates(&folder.join(AUTHORITY))
}

/// A client that trusts these authorities (of `origin`, for messages), and shows the certificate of a folder where that has
/// one (`client-cert.pem`, `client-key.pem`).
///
/// # Errors
/// Where nobody could be trusted, or the certificate cannot be used.
pub fn client_config(
    trusted: Vec<CertificateDer<'static>>,
    origin: &Path,
    identity: Option<&Path>,
) -> Result<ClientConfig, CredentialsError> {
    let mut roots = RootCertStore::empty();
    // One of many that cannot be read is no reason to trust none.
    roots.add_parsable_certificates(trusted);
    if roots.is_empty() {
        return Err(CredentialsError::new(
            origin,
            "there is no certificate that could be trusted",
        ));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| CredentialsError::new(origin, error))?
        .with_root_certificates(roots);
    let Some(folder) = identity.filter(|folder| folder.join(CLIENT_CERTIFICATE).exists()) else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates(&folder.join(CLIENT_CERTIFICATE))?;
    config
        .with_client_auth_cert(chain, key(&folder.join(CLIENT_KEY))?)
        .map_err(|error| CredentialsError::new(folder, error))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
