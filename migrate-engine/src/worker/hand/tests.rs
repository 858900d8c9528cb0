//! A worker before a service that is played: real TLS, and answers that a test decides on.

use std::convert::Infallible;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::model::Secret;
use crate::source::Wanted;
use crate::source::vsphere::{Fingerprint, Trust};

/// A service that answers by `answer`, and tells of each request its path and body.
struct Played {
    address: SocketAddr,
    print: Fingerprint,
    asked: mpsc::UnboundedReceiver<(String, String)>,
}

async fn play(answer: impl Fn(&str, usize) -> (StatusCode, String) + Send + Sync + 'static) -> Played {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["service".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let print = Fingerprint::of(certificate.der());
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, asked) = mpsc::unbounded_channel();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let answer = Arc::new((answer, Mutex::new(HashMap::<String, usize>::new())));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, told, answer) = (acceptor.clone(), told.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request: Request<Incoming>| {
                    let (told, answer) = (told.clone(), Arc::clone(&answer));
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let body = String::from_utf8_lossy(&body).into_owned();
                        let nth = {
                            let mut counts = answer.1.lock();
                            let count = counts.entry(path.clone()).or_default();
                            *count += 1;
                            *count
                        };
                        let (status, text) = (answer.0)(&path, nth);
                        let _ = told.send((path, body));
                        let response = Response::builder().status(status);
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Played {
        address,
        print,
        asked,
    }
}

impl Played {
    fn line(&self, print: Fingerprint) -> Line {
        let address = format!("https://{}", self.address).parse().unwrap();
        let trust = Trust::Pinned(print);
        Line::new(Access::new(address, &trust, Secret::new("a token")).unwrap())
    }

    /// The body of the next request whose path ends so.
    async fn next(&mut self, end: &str) -> String {
        let next = async {
            loop {
                let (path, body) = self.asked.recv().await.unwrap();
                if path.ends_with(end) {
                    return body;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.unwrap()
    }
}

/// Knows no source.
struct Nothing;

#[async_trait]
impl SourceBook for Nothing {
    fn hosts(&self) -> Vec<String> {
        Vec::new()
    }

    async fn connect(&self, _vcenter_host: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        Err(SourceFailure::new(Category::Refused, "nothing is known of it"))
    }
}

fn report() -> Report {
    Report {
        instance: Uuid::from_u128(1),
        protocol: PROTOCOL,
        version: "test".to_owned(),
        busy_with: Vec::new(),
        holds: Vec::new(),
        leaves: false,
    }
}

fn one_call() -> String {
    let orders = Orders {
        calls: vec![Call {
            id: Uuid::from_u128(7),
            host: "vc".to_owned(),
            job: None,
            ask: Ask::Machines(Wanted::default()),
        }],
        ..Orders::default()
    };
    serde_json::to_string(&orders).unwrap()
}

fn nothing() -> String {
    serde_json::to_string(&Orders::default()).unwrap()
}

#[tokio::test]
async fn what_the_service_does_not_take_becomes_a_failure_and_is_told_once() {
    let mut played = play(|path, nth| match (path.rsplit('/').next(), nth) {
        (Some("orders"), 1) => (StatusCode::OK, one_call()),
        (Some("orders"), _) => (StatusCode::OK, nothing()),
        (Some("outcome"), 1) => (StatusCode::BAD_REQUEST, "{\"detail\":\"too much\"}".to_owned()),
        _ => (StatusCode::OK, "{}".to_owned()),
    })
    .await;
    let stopping = CancellationToken::new();
    let hand = Hand::new(played.line(played.print), Arc::new(Nothing), stopping.clone());
    let running = tokio::spawn(Arc::new(hand).run(|_| {}));
    let first: Outcome = serde_json::from_str(&played.next("/outcome").await).unwrap();
    assert_eq!(first.unwrap_err().why, "nothing is known of it");
    let second: Outcome = serde_json::from_str(&played.next("/outcome").await).unwrap();
    let why = second.unwrap_err().why;
    assert!(why.contains("did not take") && why.contains("too much"), "{why}");
    stopping.cancel();
    running.await.unwrap();
    let mut leaves = false;
    while let Ok((path, body)) = played.asked.try_recv() {
        assert!(!path.ends_with("/outcome"), "it was told a third time");
        leaves |= body.contains("\"leaves\":true");
    }
    assert!(leaves, "whoever is stopped says so");
}

#[tokio::test]
async fn answers_are_told_apart() {
    let played = play(|path, _| match path.rsplit('/').next() {
        Some("outcome") => (StatusCode::NOT_FOUND, String::new()),
        Some("progress") => (StatusCode::OK, "no JSON".to_owned()),
        _ => (
            StatusCode::CONFLICT,
            "{\"detail\":\"another is there\",\"hint\":\"end it\"}".to_owned(),
        ),
    })
    .await;
    let line = played.line(played.print);
    let id = Uuid::from_u128(7);
    let gone = line.outcome(id, &Ok(Answer::Done)).await.unwrap_err();
    assert!(matches!(gone, LineError::Gone), "{gone:?}");
    let refused = line.orders(&report()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the service refuses: another is there; end it"
    );
    let moved = super::super::wire::Moved::from(&crate::transfer::Progress::new().snapshot());
    let broken = line.progress(id, &moved).await.unwrap_err();
    assert!(matches!(broken, LineError::Broken(_)), "{broken:?}");
}

#[tokio::test]
async fn another_certificate_and_a_service_that_is_not_there_are_told_apart() {
    let played = play(|_, _| (StatusCode::OK, nothing())).await;
    let other = Fingerprint::of(b"another");
    let error = played.line(other).orders(&report()).await.unwrap_err();
    assert!(matches!(error, LineError::Trust { .. }), "{error:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Played {
        address: free.local_addr().unwrap(),
        ..played
    };
    drop(free);
    let error = nobody.line(nobody.print).orders(&report()).await.unwrap_err();
    assert!(matches!(error, LineError::Unreachable { .. }), "{error:?}");
}
