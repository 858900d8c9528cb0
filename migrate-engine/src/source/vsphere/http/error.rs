//! Why there is no answer, and whether the request may have been carried out all the same.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls;

use volume_client::client::trust::{Fingerprint, Rejection, rejection};

/// What stands between a request and its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection could be made.
    #[error(
        "cannot connect to {endpoint}: check the address, that it runs, and that no firewall is in between"
    )]
    Unreachable {
        /// The host and port.
        endpoint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No connection was made in time.
    #[error(
        "no connection to {endpoint} within {waited:?}: check the address, that it runs, and that no firewall is in between"
    )]
    ConnectTooSlow {
        /// The host and port.
        endpoint: String,
        /// How long we waited.
        waited: Duration,
    },
    /// Somebody with another certificate than the pinned one answers.
    #[error(
        "{endpoint} shows another certificate than the pinned one: SHA-256 {found} instead of {expected}; if its \
         certificate was renewed, compare with the one shown on the host itself and pin that, else somebody is in between"
    )]
    CertificateMismatch {
        /// The host and port.
        endpoint: String,
        /// The pinned one.
        expected: Fingerprint,
        /// The one that was shown.
        found: Fingerprint,
    },
    /// The certificate is not one that we trust.
    #[error(
        "{endpoint} shows a certificate that is not trusted: name the file of its authority's certificate, or, if the \
         host itself shows the same fingerprint, pin SHA-256 {found}"
    )]
    CertificateUntrusted {
        /// The host and port.
        endpoint: String,
        /// The one that was shown.
        found: Fingerprint,
        /// What is wrong with it.
        #[source]
        source: Box<rustls::Error>,
    },
    /// The handshake failed for another reason.
    #[error("no TLS with {endpoint}: it must speak TLS 1.2 or newer, and the port must be that of its API")]
    Tls {
        /// The host and port.
        endpoint: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The request was sent, or part of it, and the connection broke off.
    #[error("the connection to {endpoint} broke off before its answer was whole")]
    Lost {
        /// The host and port.
        endpoint: String,
        /// How it broke off.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request was sent, and no answer came in time.
    #[error("{endpoint} sent nothing for {waited:?}")]
    TooSlow {
        /// The host and port.
        endpoint: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The answer is larger than any that we expect.
    #[error("the answer of {endpoint} is larger than {limit} bytes")]
    TooLarge {
        /// The host and port.
        endpoint: String,
        /// The bound.
        limit: usize,
    },
    /// Another address was answered. It is not followed: it would be given our password.
    #[error(
        "{endpoint} sends us to `{location}` (HTTP {status}): give the address of the vCenter or host itself"
    )]
    Redirect {
        /// The host and port.
        endpoint: String,
        /// The status.
        status: u16,
        /// Where it points.
        location: String,
    },
    /// The request holds what no request can.
    #[error("cannot form a request")]
    Request {
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl HttpError {
    /// Whether the other side may have got the request, and may have carried it out. Where this is false, it is certain
    /// that it did not.
    #[must_use]
    pub fn may_have_been_sent(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::TooSlow { .. } | Self::TooLarge { .. } | Self::Redirect { .. }
        )
    }

    /// Whether a connection broke: another one may do better.
    pub(in super::super) fn is_broken(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Why the handshake failed.
    pub(super) fn of_handshake(endpoint: String, error: io::Error) -> Self {
        match rejection(&error) {
            Some(Rejection::Mismatch { expected, found }) => Self::CertificateMismatch {
                endpoint,
                expected,
                found,
            },
            Some(Rejection::Untrusted { found, source }) => Self::CertificateUntrusted {
                endpoint,
                found,
                source: Box::new(source),
            },
            None => Self::Tls {
                endpoint,
                source: error,
            },
        }
    }
}
