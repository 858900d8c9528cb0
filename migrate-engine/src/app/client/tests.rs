//! The client against services that answer well, badly and not at all.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use parking_lot::Mutex;
use serving::{Certificate, CertificateFiles, Clients, Door, Limits, Listener, Server};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::vsphere::Fingerprint;

/// A service that answers everything the same, and keeps what it was asked.
async fn service(status: u16, body: &'static str) -> (Client, Arc<Mutex<Vec<String>>>, tempfile::TempDir) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&asked);
    let answer = move |request: Request| async move {
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        keep.lock()
            .push(format!("{} {} {token}", request.method(), request.uri()));
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let dir = tempfile::tempdir().unwrap();
    (client(&url, &dir, "letmein\n").unwrap(), asked, dir)
}

fn client(url: &str, dir: &tempfile::TempDir, token: &str) -> Result<Client, ClientError> {
    let file = dir.path().join("token");
    std::fs::write(&file, token).unwrap();
    Client::new(url, &file, &Trust::SystemRoots)
}

#[tokio::test]
async fn names_of_sources_may_hold_anything_and_the_token_is_brought_along() {
    let (client, asked, _dir) = service(200, r#"{"vms": []}"#).await;
    let found = client.machines("https://vc:443/sdk?x", Some("DC/1 ü")).await;
    assert_eq!(found.unwrap(), []);
    let expected =
        "GET /api/v1/sources/https:%2F%2Fvc:443%2Fsdk%3Fx/machines?datacenter=DC%2F1+%C3%BC Bearer letmein";
    assert_eq!(*asked.lock(), [expected]);
    assert!(!format!("{client:?}").contains("letmein"));
}

#[tokio::test]
async fn what_is_no_id_is_not_asked_for() {
    let (client, asked, _dir) = service(200, "{}").await;
    for id in ["", "..", "a/b", "job 1", "j\x1b[2J"] {
        let error = client.job(id, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), "job_not_found", "{id}");
        assert!(!error.to_string().contains('\x1b'));
        assert!(error.hint().unwrap().contains("migrate-engine jobs"));
    }
    assert!(asked.lock().is_empty());
}

#[tokio::test]
async fn refusals_hold_nothing_that_a_terminal_would_obey() {
    let problem = r#"{"code":"vm_refused","detail":"no\u001b[2J","hint":"try\u009b later"}"#;
    let (client, _, _dir) = service(422, problem).await;
    let error = client.change("job-1", Change::Retry).await.unwrap_err();
    assert_eq!((error.code(), &*error.to_string()), ("vm_refused", "no?[2J"));
    assert_eq!(error.hint().unwrap(), "try? later");
    assert!(!error.may_pass());
}

#[tokio::test]
async fn strangers_wrong_tokens_and_silence_are_told_apart() {
    for (status, body, code) in [
        (401, "", "unauthorized"),
        (200, "<html>", "strange_answer"),
        (200, "{}", "strange_answer"),
        (
            404,
            r#"{"code":"route_not_found","detail":"there is no x"}"#,
            "strange_answer",
        ),
        (502, "bad gateway", "strange_answer"),
        (302, "", "strange_answer"),
    ] {
        let (client, _, _dir) = service(status, body).await;
        let error = client.jobs(None, 1).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.hint().unwrap().len() > 10);
        assert!(!error.to_string().contains("letmein"));
    }
    let dir = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(&format!("http://{closed}"), &dir, "x")
        .unwrap()
        .sources()
        .await;
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("service_unreachable", true));
}

#[tokio::test]
async fn over_tls_only_who_is_trusted_gets_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    serving::certificate::make_where_missing(&files).unwrap();
    let shown = Arc::new(Certificate::read(files.clone(), Clients::Unasked).unwrap());
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("https://localhost:{}", listener.address().unwrap().port());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let answer = move || async move {
        *count.lock() += 1;
        r#"{"sources": []}"#
    };
    let server = Server::new(Limits::default());
    let door = Door::far(listener, &shown);
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { server.answer(door, router, CancellationToken::new()).await });

    let file = dir.path().join("token");
    std::fs::write(&file, "letmein").unwrap();
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let right = Trust::Pinned(Fingerprint::of(&certificate));
    let wrong = Trust::Pinned(Fingerprint::of(b"another"));
    for (trust, code) in [
        (right, None),
        (Trust::CaFile(files.certificate.clone()), None),
        (wrong, Some("untrusted")),
        (Trust::SystemRoots, Some("untrusted")),
    ] {
        *asked.lock() = 0;
        let answer = Client::new(&url, &file, &trust).unwrap().sources().await;
        assert_eq!(
            answer.as_ref().err().map(ClientError::code),
            code,
            "{trust:?}: {answer:?}"
        );
        assert_eq!(*asked.lock(), u32::from(code.is_none()), "{trust:?}");
    }
}

#[test]
fn addresses_elsewhere_and_files_without_a_token_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bad in [
        "",
        "127.0.0.1:8082",
        "ftp://127.0.0.1",
        "http://10.0.0.1:8082",
        "http://127.0.0.1/api",
        "http://me:hunter2@127.0.0.1",
        "http://localhost.example:1",
    ] {
        let error = client(bad, &dir, "x").unwrap_err();
        assert_eq!(error.code(), "bad_address", "{bad}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for good in [
        "http://127.0.0.1:8082",
        "http://localhost:1/",
        "http://[::1]:8082",
        "https://10.0.0.1:8082",
    ] {
        client(good, &dir, "x").unwrap();
    }
    for token in ["", " \n", "a\u{1}b"] {
        assert_eq!(
            client("http://[::1]:1", &dir, token).unwrap_err().code(),
            "no_token"
        );
    }
    let error = Client::new("http://[::1]:1", &dir.path().join("nowhere"), &Trust::SystemRoots).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
