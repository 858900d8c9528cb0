//! Which certificate of a vCenter or a host is believed.

mod fingerprint;
mod thumbprint;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub use fingerprint::{Fingerprint, FingerprintParseError};
pub use thumbprint::Thumbprint;
pub(super) use verifier::{Rejection, rejection};
use verifier::{Rule, Verifier};

/// Whom we believe to be the vCenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whoever has a certificate for the host's name from an authority that this system trusts.
    SystemRoots,
    /// The same, by the authorities of this PEM file only: the vCenter's own root certificate.
    CaFile(PathBuf),
    /// Whoever has the certificate of this fingerprint, whatever name it is for and whoever signed it.
    Pinned(Fingerprint),
    /// Anybody. Said in the log at each connection: whoever is between here and the vCenter reads the password.
    Skipped,
}

/// The certificates to trust could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read certificates to trust from {place}")]
pub struct TrustError {
    /// The file, or the system's certificates.
    pub place: String,
    /// What is wrong there.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The settings of TLS for `trust`. Blocks on the file system.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        rule: rule(trust, &provider)?,
        algorithms: provider.signature_verification_algorithms,
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring does TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
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
