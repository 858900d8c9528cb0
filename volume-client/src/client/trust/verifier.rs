//! The judge of certificates: says which certificate was shown whenever it refuses one.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::Fingerprint;

/// What a certificate has to be.
#[derive(Debug)]
pub(super) enum Rule {
    /// Signed by one of these, for the host's name.
    Authorities(Arc<WebPkiServerVerifier>),
    /// This very certificate.
    Pinned(Fingerprint),
    /// Any.
    Anybody,
}

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) rule: Rule,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Why a certificate was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Rejection {
    /// It is another one.
    #[error("the certificate is another than the pinned one")]
    Mismatch {
        /// What it should be.
        expected: Fingerprint,
        /// What was shown.
        found: Fingerprint,
    },
    /// Nobody vouches for it, or not for this name or time.
    #[error("the certificate is not trusted")]
    Untrusted {
        /// What was shown.
        found: Fingerprint,
        /// Why.
        #[source]
        source: Error,
    },
}

impl Rejection {
    /// The certificate that was shown.
    #[must_use]
    pub fn found(&self) -> Fingerprint {
        match self {
            Self::Mismatch { found, .. } | Self::Untrusted { found, .. } => *found,
        }
    }
}

/// The refusal behind a failed handshake, if that was it.
#[must_use]
pub fn rejection(error: &io::Error) -> Option<Rejection> {
    within(error)
}

/// The refusal somewhere among the causes of an error, if that was it.
#[must_use]
pub fn rejected(error: &(dyn std::error::Error + 'static)) -> Option<Rejection> {
    std::iter::successors(Some(error), |error| error.source()).find_map(within)
}

/// An error of I/O shows what is in it only to who asks for that: its source is that of what is in it.
fn within(error: &(dyn std::error::Error + 'static)) -> Option<Rejection> {
    match error.downcast_ref::<Error>() {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            other.downcast_ref::<Rejection>().cloned()
        }
        Some(_) => None,
        None => within(error.downcast_ref::<io::Error>()?.get_ref()?),
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejection))))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(end_entity);
        match &self.rule {
            Rule::Anybody => Ok(ServerCertVerified::assertion()),
            Rule::Pinned(expected) if *expected == found => Ok(ServerCertVerified::assertion()),
            Rule::Pinned(expected) => Err(Rejection::Mismatch {
                expected: *expected,
                found,
            }
            .into()),
            Rule::Authorities(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|source| Rejection::Untrusted { found, source }.into()),
        }
    }

    // That the server owns the certificate's key is verified whatever the rule: a fingerprint alone is public.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
