//! Callers that take more than they may: slow ones, many, large ones, half-open ones. A good caller is answered all the while.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at what it does not expect"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::routing::{get, post};
use serving::{
    Certificate, CertificateFiles, Clients, Door, Limits, Listener, Server, SocketFile, came_too_slowly,
    certificate,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A good caller is answered within this.
const SOON: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A service on a Unix socket and a TCP address.
struct Service {
    address: SocketAddr,
    dir: TempDir,
    _file: SocketFile,
    _serving: Vec<AbortOnDropHandle<()>>,
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "well" }))
        .route(
            "/take",
            post(|body: String| async move { body.len().to_string() }),
        )
        .route("/judge", post(judge))
        .layer(DefaultBodyLimit::max(1 << 20))
}

async fn judge(body: Result<Bytes, BytesRejection>) -> &'static str {
    match body {
        Ok(_) => "whole",
        Err(error) if came_too_slowly(&error) => "too slow",
        Err(_) => "something else",
    }
}

fn over_tls(listener: Listener, dir: &Path) -> Door {
    let files = CertificateFiles {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    certificate::make_where_missing(&files).unwrap();
    Door::far(
        listener,
        &Arc::new(Certificate::read(files, Clients::Unasked).unwrap()),
    )
}

impl Service {
    fn start(limits: Limits) -> Self {
        Self::with(limits, |listener, _| Door::near(listener).unwrap())
    }

    fn with(limits: Limits, door: impl FnOnce(Listener, &Path) -> Door) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let (file, unix) = Listener::unix(&dir.path().join("s")).unwrap();
        let address = tcp.address().unwrap();
        let server = Server::new(limits);
        let doors = [door(tcp, dir.path()), Door::near(unix).unwrap()];
        let serving = doors.map(|door| {
            let answering = server.clone().answer(door, router(), CancellationToken::new());
            AbortOnDropHandle::new(tokio::spawn(answering))
        });
        Self {
            address,
            dir,
            _file: file,
            _serving: serving.into(),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection from one of the loopback's own addresses.
    async fn connect_from(&self, from: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn is_well_over_unix(&self) {
        let path = self.dir.path().join("s");
        let asked = async { ask(UnixStream::connect(path).await.unwrap()).await };
        let answer = timeout(SOON, asked).await.expect("the operator is answered soon");
        assert!(answer.ends_with("well"), "{answer}");
    }

    async fn is_well_over_tcp(&self) {
        let asked = async { ask(self.connect().await).await };
        let answer = timeout(SOON, asked)
            .await
            .expect("the good caller is answered soon");
        assert!(answer.ends_with("well"), "{answer}");
    }

    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // The answer may come before the whole of it was taken.
        let _ = stream.write_all(text.as_bytes()).await;
        read(&mut stream).await
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> String {
    let _ = stream.write_all(REQUEST).await;
    read(&mut stream).await
}

/// What comes until the connection ends, however it does.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    let reading = async {
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            text.extend_from_slice(&buffer[..length]);
        }
    };
    timeout(SOON * 4, reading).await.expect("the connection ends");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_send_byte_by_byte_end_and_keep_nobody_waiting() {
    let service = Service::start(Limits {
        header_timeout: Duration::from_secs(3),
        ..Limits::default()
    });
    let mut slow = Vec::new();
    for _ in 0..400 {
        slow.push(service.connect().await);
    }
    let began = Instant::now();
    for byte in b"GET" {
        for stream in &mut slow {
            stream.write_all(&[*byte]).await.unwrap();
        }
        service.is_well_over_tcp().await;
        service.is_well_over_unix().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for stream in &mut slow {
        read(stream).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    service.is_well_over_tcp().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_its_share_and_others_theirs() {
    let service = Service::start(Limits {
        connections_per_peer: 8,
        ..Limits::default()
    });
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(service.connect().await);
    }
    let mut ninth = service.connect().await;
    assert_eq!(read(&mut ninth).await, "", "one more is closed");
    let other = service.connect_from("127.0.0.2".parse().unwrap()).await;
    assert!(ask(other).await.ends_with("well"));
    service.is_well_over_unix().await;
    drop(held);
    let deadline = Instant::now() + SOON;
    while !ask(service.connect().await).await.ends_with("well") {
        assert!(Instant::now() < deadline, "the places are free again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_is_room_for_wait_and_the_unix_socket_does_not() {
    let service = Service::start(Limits {
        connections: 4,
        ..Limits::default()
    });
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(service.connect().await);
    }
    let waiting = tokio::spawn(ask(service.connect().await));
    service.is_well_over_unix().await;
    assert!(!waiting.is_finished());
    drop(held);
    let answer = timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(answer.ends_with("well"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_without_measure_are_refused() {
    let service = Service::start(Limits {
        body_timeout: Duration::from_secs(2),
        ..Limits::default()
    });
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let answer = service.say(&long).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: a\r\n".repeat(200));
    assert!(service.say(&many).await.starts_with("HTTP/1.1 431"));

    let chunk = format!("10000\r\n{}\r\n", "b".repeat(0x10000));
    let head = "POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = service.say(&format!("{head}{}", chunk.repeat(64))).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );

    let stalled = "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    let answer = service.say(stalled).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    for (request, judged) in [
        (stalled.replace("take", "judge"), "too slow"),
        (format!("{head}zz\r\n").replace("take", "judge"), "something else"),
    ] {
        let answer = service.say(&request).await;
        assert!(answer.ends_with(judged), "{request}: {answer}");
    }
    service.is_well_over_tcp().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_not_gone_on_with_end() {
    let limits = Limits {
        handshakes: 4,
        handshake_timeout: Duration::from_secs(3),
        connections: 250,
        ..Limits::default()
    };
    let service = Service::with(limits, over_tls);
    let mut open = Vec::new();
    for number in 0..200 {
        let mut stream = service.connect().await;
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1]).await.unwrap();
        }
        open.push(stream);
    }
    service.is_well_over_unix().await;
    for stream in &mut open {
        read(stream).await;
    }
}

/// Ten thousand connections from twenty addresses: the service lives, its memory is bounded, and it recovers.
/// A process that holds connections, each with the begin of a request: its files are not ours. It ends with its input.
struct Crowd(std::process::Child);

/// Opens connections to a port, five hundred from each of some addresses, and says so.
const HOLDS: &str = "
import resource, socket, sys
port, first = int(sys.argv[1]), int(sys.argv[2])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = []
for number in range(first, first + 5):
    for _ in range(500):
        held.append(socket.create_connection(('127.0.0.1', port), source_address=('127.0.1.%d' % number, 0)))
        held[-1].sendall(b'GET / HT')
print('held', flush=True)
sys.stdin.read()
";

impl Crowd {
    fn gather(service: &Service, first: u8) -> Self {
        let mut crowd = std::process::Command::new("python3")
            .args([
                "-c",
                HOLDS,
                &service.address.port().to_string(),
                &first.to_string(),
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = String::new();
        let said = crowd.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut word).unwrap();
        assert_eq!(word, "held\n");
        Self(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_do_not_keep_the_operator_out() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    const FILES: u64 = 11_000;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = maximum.is_none_or(|maximum| maximum >= FILES)
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(FILES),
                maximum,
            },
        )
        .is_ok();
    if !raised {
        assert!(std::env::var("CI").is_err(), "CI must let it open {FILES} files");
        eprintln!("SKIPPED: needs to open {FILES} files");
        return;
    }
    let service = Service::start(Limits {
        connections: 12_000,
        ..Limits::default()
    });
    let before = resident();
    let mut held = Vec::new();
    for first in [1, 6, 11, 16] {
        held.push(Crowd::gather(&service, first));
        service.is_well_over_unix().await;
    }
    let grown = resident().saturating_sub(before);
    eprintln!("10,000 connections took {} MiB", grown >> 20);
    assert!(grown < 300 << 20, "{} MiB", grown >> 20);
    service.is_well_over_tcp().await;
    drop(held);
    service.is_well_over_unix().await;
    service.is_well_over_tcp().await;
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
