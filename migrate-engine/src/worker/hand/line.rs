//! The line to the service: requests over HTTPS, on connections that are kept. Everything that is sent here may be sent
//! twice without harm, and is, once, where a kept connection turns out to be dead.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

use super::super::wire::{CallId, Moved, Orders, Outcome, Report, Steer};
use super::service::Access;
use crate::block::NbdTunnel;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, but that to a report, which is waited for.
const ANSWER: Duration = Duration::from_secs(20);
/// How long orders are waited for: the service answers within ten seconds.
const ORDERS: Duration = Duration::from_secs(40);
/// Connections that are kept.
const KEPT: usize = 8;
/// Longer answers are not read: orders have the digests of disks with them.
const LONGEST: usize = 1 << 30;

const ROOT: &str = "/api/v1/worker";

/// The line did not carry a request, or the service refused it.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The service cannot be reached.
    #[error("cannot reach the service at {service}")]
    Unreachable {
        /// Where it should be.
        service: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its certificate is not the one to be believed.
    #[error(
        "the certificate of {service} is not to be believed: compare it with the one on the appliance, and give its \
         authority with --ca-file or its fingerprint with --fingerprint"
    )]
    Trust {
        /// Where.
        service: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came over it is no HTTP.
    #[error("the line to the service broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service says nothing.
    #[error("the service has not answered within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Nobody waits for that call any more.
    #[error("nobody waits for that any more")]
    Gone,
    /// The service refuses it.
    #[error("the service refuses: {what}")]
    Refused {
        /// Its words.
        what: String,
    },
}

type Sender = SendRequest<Full<Bytes>>;

/// The line of one worker. Connections are made when they are needed.
pub struct Line {
    access: Access,
    kept: Mutex<Vec<Sender>>,
}

impl Line {
    /// A line to a service; nothing is connected yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self {
            access,
            kept: Mutex::default(),
        }
    }

    /// Where the service is.
    #[must_use]
    pub fn service(&self) -> String {
        self.access.address.to_string()
    }

    /// The way into the export of a call.
    pub(super) fn tunnel(&self, call: CallId) -> NbdTunnel {
        self.access.tunnel(format!("{ROOT}/calls/{call}/export"))
    }

    pub(super) fn host(&self) -> (&str, u16) {
        self.access.host()
    }

    /// Reports, and waits for orders.
    pub(super) async fn orders(&self, report: &Report) -> Result<Orders, LineError> {
        self.tell("/orders", report, ORDERS).await
    }

    /// Tells what came of a call.
    pub(super) async fn outcome(&self, call: CallId, outcome: &Outcome) -> Result<(), LineError> {
        let _: serde_json::Value = self
            .tell(&format!("/calls/{call}/outcome"), outcome, ANSWER)
            .await?;
        Ok(())
    }

    /// Tells how far a copy is.
    pub(super) async fn progress(&self, call: CallId, moved: &Moved) -> Result<Steer, LineError> {
        self.tell(&format!("/calls/{call}/progress"), moved, ANSWER).await
    }

    /// Tells what became durable.
    pub(super) async fn checkpoint(&self, call: CallId, covered: Vec<u8>) -> Result<(), LineError> {
        let path = format!("/calls/{call}/checkpoint");
        let body = (Bytes::from(covered), "application/octet-stream");
        self.send(&path, body, ANSWER).await.map(drop)
    }

    async fn tell<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl serde::Serialize,
        patience: Duration,
    ) -> Result<T, LineError> {
        let body = serde_json::to_vec(what).expect("it has only strings and numbers");
        let answer = self
            .send(path, (body.into(), "application/json"), patience)
            .await?;
        serde_json::from_slice(&answer).map_err(broken)
    }

    async fn send(
        &self,
        path: &str,
        (body, kind): (Bytes, &str),
        patience: Duration,
    ) -> Result<Bytes, LineError> {
        let request = || {
            Request::builder()
                .method(Method::POST)
                .uri(format!("{ROOT}{path}"))
                .header(HOST, self.access.address.to_string())
                .header(AUTHORIZATION, format!("Bearer {}", self.access.token.reveal()))
                .header(CONTENT_TYPE, kind)
                .body(Full::new(body.clone()))
                .expect("a path and headers of ours are fine")
        };
        let silent = || LineError::Silent {
            seconds: patience.as_secs(),
        };
        let exchanged = async {
            if let Some(kept) = self.kept()
                && let Ok(answer) = self.exchange(kept, request()).await
            {
                return Ok(answer);
            }
            self.exchange(self.connect().await?, request()).await
        };
        let (status, answer) = timeout(patience, exchanged).await.map_err(|_| silent())??;
        match status {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(LineError::Gone),
            _ => Err(LineError::Refused {
                what: words(status, &answer),
            }),
        }
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), LineError> {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(LineError::Broken)?.to_bytes();
        let mut kept = self.kept.lock();
        if kept.len() < KEPT {
            kept.push(sender);
        }
        Ok((status, body))
    }

    fn kept(&self) -> Option<Sender> {
        let mut kept = self.kept.lock();
        while let Some(sender) = kept.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, LineError> {
        let service = || self.service();
        let unreachable = |source| LineError::Unreachable {
            service: service(),
            source,
        };
        let connected = async {
            let stream = TcpStream::connect(self.access.host())
                .await
                .map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let tls = TlsConnector::from(self.access.tls.clone());
            let stream = tls.connect(self.access.server(), stream).await;
            stream.map_err(|source| match is_about_trust(&source) {
                true => LineError::Trust {
                    service: service(),
                    source,
                },
                false => unreachable(source),
            })
        };
        let stream = timeout(CONNECT, connected)
            .await
            .unwrap_or_else(|_| Err(unreachable(io::ErrorKind::TimedOut.into())))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its error reaches whoever waits for an answer; it ends with its sender.
        tokio::spawn(async move { drop(driver.await) });
        Ok(sender)
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LineError {
    LineError::Broken(error.into())
}

fn is_about_trust(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_))
    )
}

/// What a refusal says: its sentence and what to do, where it is one of ours.
fn words(status: StatusCode, body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |name: &str| problem[name].as_str().map(str::to_owned);
    match (word("detail"), word("hint")) {
        (Some(detail), Some(hint)) => format!("{detail}; {hint}"),
        (Some(detail), None) => detail,
        _ => format!("it answers {status}"),
    }
}
