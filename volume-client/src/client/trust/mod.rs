//! Which certificate of a server is believed, and how we show who we are.

mod fingerprint;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub use fingerprint::{Fingerprint, FingerprintParseError, write_bytes};
pub use verifier::{Rejection, rejected, rejection};
use verifier::{Rule, Verifier};

/// Whom we believe to be the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Whoever has a certificate for the host's name from an authority that this system trusts.
    #[default]
    SystemRoots,
    /// The same, by the authorities of this PEM file only: the server's own root certificate.
    CaFile(PathBuf),
    /// Whoever has the certificate of this fingerprint, whatever name it is for and whoever signed it.
    Pinned(Fingerprint),
    /// Anybody: whoever is between here and the server reads and changes everything, passwords and tokens first.
    Skipped,
}

/// A certificate or a key could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the certificates or the key of {place}")]
pub struct TrustError {
    /// The file, or the system's certificates.
    pub place: String,
    /// What is wrong there.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Who we are, to servers that want to know it by a certificate: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Our certificate, and those of its authorities after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The settings of TLS for `trust`. Blocks on the file system.
///
/// # Errors
/// Where the certificates to trust cannot be read.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    config(trust, None)
}

/// The same, and we show who we are.
///
/// # Errors
/// Where the certificates to trust, or our own, cannot be used.
pub fn client_config_as(trust: &Trust, identity: &Identity) -> Result<ClientConfig, TrustError> {
    config(trust, Some(identity))
}

/// For those who speak in the clear, or over a socket: over TLS nobody is believed.
#[must_use]
pub fn nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring does TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn config(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        rule: rule(trust, &provider)?,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring does TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(Identity { certificate, key }) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let bad = |place: &Path, source: Box<dyn std::error::Error + Send + Sync>| TrustError {
        place: place.display().to_string(),
        source,
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| bad(certificate, error.into()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.into()))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| bad(key, error.into()))
}

fn rule(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Rule, TrustError> {
    let (place, found) = match trust {
        Trust::Pinned(fingerprint) => return Ok(Rule::Pinned(*fingerprint)),
        Trust::Skipped => return Ok(Rule::Anybody),
        Trust::SystemRoots => (
            "the system's certificates".to_owned(),
            Ok(rustls_native_certs::load_native_certs().certs),
        ),
        Trust::CaFile(path) => (
            path.display().to_string(),
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
        ),
    };
    let bad = |source| TrustError { place, source };
    let mut roots = RootCertStore::empty();
    let (taken, _) = match found {
        Ok(certificates) => roots.add_parsable_certificates(certificates),
        Err(error) => return Err(bad(error.into())),
    };
    if taken == 0 {
        return Err(bad("no certificate is in there".into()));
    }
    match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build() {
        Ok(verifier) => Ok(Rule::Authorities(verifier)),
        Err(error) => Err(bad(error.into())),
    }
}
