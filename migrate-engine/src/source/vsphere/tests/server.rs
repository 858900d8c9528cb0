//! A TLS server that answers what a test tells it to, byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::task::AbortOnDropHandle;

use super::super::{Credentials, Endpoint, Fingerprint, Patience, Session, Trust};

/// A request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Which request of the server it is, from 0.
    pub(super) number: usize,
    /// On which connection it came, from 0.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn calls(&self, method: &str) -> bool {
        self.body.contains(&format!("<{method} xmlns="))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What the server does then.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// These bytes; the connection stays.
    Keep(Vec<u8>),
    /// These bytes, then the connection is cut.
    Cut(Vec<u8>),
    /// Nothing, ever.
    Silence,
}

/// A running server. Dropped, it is gone with all its connections.
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    pub(super) fingerprint: Fingerprint,
    pub(super) pem: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

impl Server {
    pub(super) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let acceptor = acceptor(key.cert.der().clone(), key.signing_key.serialize_der());
        let task = tokio::spawn(serve(listener, acceptor, Arc::new(handler), Arc::clone(&seen)));
        Self {
            endpoint: format!("localhost:{port}").parse().unwrap(),
            fingerprint: Fingerprint::of(key.cert.der()),
            pem: key.cert.pem(),
            seen,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// A server that knows how to log in, and leaves the rest to `handler`.
    pub(super) async fn with_login(handler: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let logins = AtomicUsize::new(0);
        Self::start(move |seen| {
            if let Some(reply) = handler(seen) {
                return reply;
            }
            if seen.calls("RetrieveServiceContent") {
                return content();
            }
            if seen.calls("Login") {
                let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
                let cookie = format!("Set-Cookie: vmware_soap_session=\"s{number}\"; Path=/; HttpOnly\r\n");
                return answer(200, &cookie, &envelope("LoginResponse", "<returnval/>"));
            }
            if seen.calls("Logout") {
                return answer(200, "", &envelope("LogoutResponse", ""));
            }
            fault("NotSupported", "")
        })
        .await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.calls(method)).count()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::Pinned(self.fingerprint)
    }

    pub(super) async fn login(&self) -> Session {
        let credentials = Credentials::new("root", "p@ss<&>'\"");
        Session::login(&self.endpoint, &self.trust(), credentials, impatient())
            .await
            .unwrap()
    }
}

/// Short, so that silence is noticed soon.
pub(super) fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        answer: Duration::from_millis(1500),
        stall: Duration::from_millis(500),
        task: Duration::from_secs(5),
    }
}

/// An answer of this status with these further headers.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Keep(
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
        .into_bytes(),
    )
}

/// As vCenter writes it.
pub(super) fn envelope(method: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n<{method} \
         xmlns=\"urn:vim25\">{inner}</{method}>\n</soapenv:Body>\n</soapenv:Envelope>"
    )
}

/// A result of `method`.
pub(super) fn result(method: &str, inner: &str) -> Reply {
    answer(200, "", &envelope(&format!("{method}Response"), inner))
}

/// A refusal.
pub(super) fn fault(kind: &str, inner: &str) -> Reply {
    let body = format!(
        "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body><soapenv:Fault>\
         <faultcode>ServerFaultCode</faultcode><faultstring>said</faultstring><detail><{kind}Fault \
         xmlns=\"urn:vim25\" xsi:type=\"{kind}\">{inner}</{kind}Fault></detail></soapenv:Fault></soapenv:Body>\
         </soapenv:Envelope>"
    );
    answer(500, "", &body)
}

fn content() -> Reply {
    result(
        "RetrieveServiceContent",
        "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
         <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
         <viewManager type=\"ViewManager\">ViewManager</viewManager>\
         <about><name>VMware vCenter Server</name><fullName>VMware vCenter Server 7.0.3 build-1</fullName>\
         <version>7.0.3</version><build>1</build><apiType>VirtualCenter</apiType><apiVersion>7.0.3.0</apiVersion></about>\
         <sessionManager type=\"SessionManager\">SessionManager</sessionManager></returnval>",
    )
}

fn acceptor(certificate: CertificateDer<'static>, key: Vec<u8>) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let (acceptor, handler, seen) = (acceptor.clone(), Arc::clone(&handler), Arc::clone(&seen));
        connections.spawn(async move { connection(number, stream, acceptor, handler, seen).await });
    }
}

async fn connection(
    number: usize,
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut request = Seen {
            number: 0,
            connection: number,
            head,
            body: String::new(),
        };
        let length: usize = request
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while buffer.len() < end + length {
            (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
        }
        request.body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
        buffer.drain(..end + length);
        {
            let mut seen = seen.lock();
            request.number = seen.len();
            seen.push(request.clone());
        }
        match handler(&request) {
            Reply::Keep(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.flush().await.ok()?;
            }
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.flush().await.ok()?;
                return None;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}
