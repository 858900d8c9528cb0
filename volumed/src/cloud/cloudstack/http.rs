//! One exchange over HTTP: a form is posted on a connection of its own, and a bounded answer is read.
//!
//! A connection for each request, so that it is certain what was never sent (no connection was made) and nothing is ever
//! sent twice: client libraries repeat a request when a kept connection turns out to be dead. There are no cookies (the
//! server would take a session for the signature), no redirects (a form would be sent to somebody else) and no proxies:
//! none of the environment's, which a service does not expect. Everything is posted: query strings end up in access logs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, DATE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;

use super::error::Failure;
use super::open_error::CloudStackOpenError;
use crate::cloud::Cause;

/// No connection takes longer.
const CONNECT: Duration = Duration::from_secs(10);
/// No answer is larger: a page of 500 volumes takes about 1 MiB.
const LARGEST: usize = 32 << 20;

/// Where the API is and how to get there.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// The `Date` header, with the times at which the request was sent and its head came.
    pub(super) date: Option<(String, Timestamp, Timestamp)>,
    /// The `X-Description` header: the text of an error without a body.
    pub(super) description: Option<String>,
    pub(super) body: Bytes,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The time was over.
#[derive(Debug, thiserror::Error)]
#[error("not within {0:?}")]
struct TooSlow(Duration);

impl Endpoint {
    /// The API at `url`, trusting the certificates of `ca_file`, or those that the system trusts. Blocks on the file system.
    pub(super) fn new(url: &Uri, ca_file: Option<&Path>) -> Result<Self, CloudStackOpenError> {
        let bad = |why: &str| CloudStackOpenError::Url {
            url: url.to_string(),
            why: why.to_owned(),
        };
        let authority = url.authority().ok_or_else(|| bad("it names no host"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("it begins with neither https:// nor http://")),
        };
        let name = || ServerName::try_from(host.clone()).map_err(|_| bad("its host is no name"));
        let tls = if is_tls {
            Some((connector(ca_file)?, name()?))
        } else {
            None
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: url.path().to_owned(),
            host,
            tls,
        })
    }

    /// Posts `form` and reads the whole answer within `patience`.
    pub(super) async fn post(&self, form: String, patience: Duration) -> Result<Answer, Failure> {
        let deadline = Instant::now() + patience;
        let connecting = timeout_at(deadline.min(Instant::now() + CONNECT), self.connect());
        let stream = match connecting.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::NotSent(error)),
            Err(_) => return Err(Failure::NotSent(TooSlow(CONNECT.min(patience)).into())),
        };
        match timeout_at(deadline, self.exchange(stream, form)).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(Failure::Lost(TooSlow(patience).into())),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Cause> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }

    async fn exchange(&self, stream: Box<dyn Stream>, form: String) -> Result<Answer, Failure> {
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONNECTION, "close")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| Failure::NotSent(error.into()))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| Failure::NotSent(error.into()))?;
        // Ends with the exchange, however that ends.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let sent = Timestamp::now();
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| Failure::Lost(error.into()))?;
        let answered = Timestamp::now();
        let (head, body) = response.into_parts();
        let header = |name| {
            head.headers
                .get(name)
                .and_then(|value: &http::HeaderValue| value.to_str().ok())
        };
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(Failure::Lost)?;
        Ok(Answer {
            status: head.status.as_u16(),
            content_type: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
            date: header(DATE).map(|date| (date.to_owned(), sent, answered)),
            description: head
                .headers
                .get("x-description")
                .map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()),
            body: body.to_bytes(),
        })
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, CloudStackOpenError> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring does TLS 1.2 and 1.3")
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, CloudStackOpenError> {
    let mut store = RootCertStore::empty();
    let place = ca_file.map_or("the system's certificates".to_owned(), |path| {
        path.display().to_string()
    });
    let bad = |source: Cause| CloudStackOpenError::Certificates {
        place: place.clone(),
        source,
    };
    let found = match ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| bad(error.into()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (taken, _) = store.add_parsable_certificates(found);
    if taken == 0 {
        return Err(bad("no certificate is in there".into()));
    }
    Ok(store)
}
