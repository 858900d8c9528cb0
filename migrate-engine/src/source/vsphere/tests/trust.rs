//! Which certificates are believed, and what is said about the others.

use std::io::Write;

use super::super::{Credentials, Fingerprint, HttpError, Session, Trust, VsphereError};
use super::server::{Server, impatient};

async fn login(server: &Server, trust: Trust) -> Result<Session, VsphereError> {
    let credentials = Credentials::new("root", "x");
    Session::login(&server.endpoint, &trust, credentials, impatient()).await
}

#[tokio::test]
async fn the_pinned_certificate_is_believed_and_another_one_is_named() {
    let server = Server::with_login(|_| None).await;
    login(&server, server.trust()).await.unwrap();

    let other = Fingerprint::of(b"another certificate");
    let error = login(&server, Trust::Pinned(other)).await.err().unwrap();
    let text = error.to_string();
    assert!(
        matches!(error, VsphereError::Http(HttpError::CertificateMismatch { .. })),
        "{error:?}"
    );
    assert!(text.contains(&other.to_string()) && text.contains(&server.fingerprint.to_string()));
    assert!(!error.is_unknown());
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_the_fingerprint_to_pin() {
    let server = Server::with_login(|_| None).await;
    let error = login(&server, Trust::SystemRoots).await.err().unwrap();
    // A machine without certificates of its own says that instead.
    if !matches!(error, VsphereError::Trust(_)) {
        assert!(
            error.to_string().contains(&server.fingerprint.to_string()),
            "{error}"
        );
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn an_authority_of_a_file_is_believed_for_the_right_name_only() {
    let server = Server::with_login(|_| None).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(server.pem.as_bytes()).unwrap();
    let trust = Trust::CaFile(file.path().to_owned());
    login(&server, trust.clone()).await.unwrap();

    let by_address = format!("127.0.0.1:{}", server.endpoint.port()).parse().unwrap();
    let error = Session::login(&by_address, &trust, Credentials::new("root", "x"), impatient())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, VsphereError::Http(HttpError::CertificateUntrusted { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let server = Server::with_login(|_| None).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path().to_owned(), "/nonexistent/ca.pem".into()] {
        let error = login(&server, Trust::CaFile(path.clone())).await.err().unwrap();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn skipped_verification_connects_to_anybody() {
    let server = Server::with_login(|_| None).await;
    login(&server, Trust::Skipped).await.unwrap();
}
