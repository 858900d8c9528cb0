//! How callers over TCP are met: whether everybody on this machine may do everything, and until when the certificate holds.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serving::{Certificate, CertificateError, CertificateFiles, Clients, is_loopback};

use crate::model::Check;

/// So long before its end a certificate is spoken of: as the alerts do.
const EARLY: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How callers over TCP are met.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// The addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    /// Whether callers need a token there.
    pub needs_token: bool,
    /// What is shown to them.
    pub certificate: Option<Arc<Certificate>>,
}

impl Doors {
    pub(super) fn examine(&self) -> Vec<Check> {
        let certificate = self.certificate.as_deref();
        loopback(&self.addresses, self.needs_token)
            .into_iter()
            .chain(certificate.map(|shown| validity(shown.expires_at(), Timestamp::now())))
            .collect()
    }
}

/// Whether a caller at these addresses needs a token; nothing where nobody listens on TCP.
#[must_use]
pub fn loopback(addresses: &[SocketAddr], needs_token: bool) -> Option<Check> {
    const NAME: &str = "loopback";
    let address = addresses.iter().find(|address| is_loopback(**address))?;
    Some(match needs_token {
        true => Check::passed(NAME, format!("{address} asks everybody for a token")),
        false => Check::warning(
            NAME,
            format!(
                "{address} asks nobody for a token: every user and every program of this machine may do everything there, \
                 deleting volumes included"
            ),
            "set `http.require_token = true` and make tokens with `volumectl tokens create`; or take `listen` away, the Unix \
             socket is enough",
        ),
    })
}

/// The certificate of these files, as a daemon would show it.
#[must_use]
pub fn certificate(files: CertificateFiles, clients: Clients) -> Check {
    match Certificate::read(files, clients) {
        Ok(certificate) => validity(certificate.expires_at(), Timestamp::now()),
        Err(error) => unreadable(&error),
    }
}

const CERTIFICATE: &str = "certificate";

fn unreadable(error: &CertificateError) -> Check {
    let why = std::error::Error::source(error).map_or_else(String::new, |why| format!(": {why}"));
    Check::failed(
        CERTIFICATE,
        format!("{error}{why}"),
        "the files of `tls` must be there, belong together, and be readable by the daemon",
    )
}

fn validity(end: Option<Timestamp>, now: Timestamp) -> Check {
    const ADVICE: &str = "put a new certificate and its key in the place of `tls.certificate` and `tls.key`; they are read \
                          anew within ten seconds";
    match end {
        None => Check::warning(CERTIFICATE, "it does not tell until when it holds", ADVICE),
        Some(end) if end <= now => Check::failed(
            CERTIFICATE,
            format!("it has expired at {end}: callers refuse it"),
            ADVICE,
        ),
        Some(end) if end.duration_since(now) < EARLY => {
            Check::warning(CERTIFICATE, format!("it expires at {end}"), ADVICE)
        }
        Some(end) => Check::passed(CERTIFICATE, format!("it holds until {end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus::{Failed, Passed, Warning};

    #[test]
    fn a_loopback_that_asks_nobody_is_a_warning() {
        let addresses =
            |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let status = |texts, needs| loopback(&addresses(texts), needs).map(|check| check.status);
        assert_eq!(status(&[], false), None);
        assert_eq!(status(&["127.0.0.1:8090"], false), Some(Warning));
        assert_eq!(status(&["192.0.2.1:1", "[::1]:8090"], false), Some(Warning));
        assert_eq!(status(&["127.0.0.1:8090"], true), Some(Passed));
        assert_eq!(
            status(&["192.0.2.1:1"], true),
            None,
            "the daemon serves it to tokens only"
        );
    }

    #[test]
    fn a_certificate_is_spoken_of_two_weeks_before_its_end() {
        let now: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        for (end, expected) in [
            (Some("2026-12-15T00:00:00Z"), Passed),
            (Some("2026-12-14T23:59:59Z"), Warning),
            (Some("2026-12-01T00:00:01Z"), Warning),
            (Some("2026-12-01T00:00:00Z"), Failed),
            (None, Warning),
        ] {
            let check = validity(end.map(|end| end.parse().unwrap()), now);
            assert_eq!(check.status, expected, "{check:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_shown_are_named() {
        let files = CertificateFiles {
            certificate: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
        };
        let check = certificate(files, Clients::Unasked);
        assert_eq!(check.status, Failed);
        assert!(check.seen.contains("/nowhere/cert.pem"), "{check:?}");
    }
}
