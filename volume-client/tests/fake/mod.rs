//! A daemon that says what a test tells it to, over real sockets: answers, problems, silence, broken connections.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod sample;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    /// How many came before it.
    pub(crate) nth: usize,
}

impl Seen {
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn key(&self) -> &str {
        self.headers.get("idempotency-key").map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the fake does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A JSON answer.
    Json(u16, Value),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then silence for as long as the other side stays.
    RawThenSilence(Vec<u8>),
    /// The end of the connection without a word.
    HangUp,
    /// Silence.
    Silence,
}

impl Reply {
    pub(crate) fn ok(value: impl serde::Serialize) -> Self {
        Self::Json(200, serde_json::to_value(value).unwrap())
    }

    pub(crate) fn accepted(value: impl serde::Serialize) -> Self {
        Self::Json(202, serde_json::to_value(value).unwrap())
    }

    pub(crate) fn page<T: serde::Serialize>(items: &[T]) -> Self {
        Self::Json(200, json!({ "items": items }))
    }

    pub(crate) fn problem(code: volume_client::types::ErrorCode, detail: &str) -> Self {
        let status = code.http_status();
        let body = json!({
            "type": format!("urn:volumed:problem:{code}"), "title": "No", "status": status, "code": code,
            "detail": detail, "hint": "do something about it", "request_id": "req-1",
        });
        Self::Json(status, body)
    }

    pub(crate) fn events(text: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{text}")
            .into_bytes()
    }
}

type Script = Arc<Mutex<dyn FnMut(&Seen) -> Reply + Send>>;

/// The running fake. It stops, and its socket goes away, when this is dropped.
pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl Fake {
    /// Listens on a Unix socket in `dir`.
    pub(crate) fn start(dir: &Path, script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        let socket = dir.join("volumed.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(Mutex::new(script));
        let log = seen.clone();
        let task = tokio::spawn(async move {
            // Connections end with the fake: the set is dropped with this task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self {
            socket,
            seen,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen().iter().map(Seen::call).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Listens on a free loopback port; ends with the runtime.
pub(crate) async fn start_tcp(script: impl FnMut(&Seen) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script: Script = Arc::new(Mutex::new(script));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, script.clone(), Arc::default()));
        }
    });
    url
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let Some(mut seen) = read_request(&mut stream).await else {
        return;
    };
    let reply = {
        let mut log = log.lock();
        seen.nth = log.len();
        log.push(seen.clone());
        drop(log);
        script.lock()(&seen)
    };
    let (bytes, stay) = match reply {
        Reply::Json(status, body) => {
            let kind = if status < 400 { "json" } else { "problem+json" };
            let body = if status == 204 {
                String::new()
            } else {
                body.to_string()
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/{kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            ((head + &body).into_bytes(), false)
        }
        Reply::Raw(bytes) => (bytes, false),
        Reply::RawThenSilence(bytes) => (bytes, true),
        Reply::HangUp => (Vec::new(), false),
        Reply::Silence => (Vec::new(), true),
    };
    let _ = stream.write_all(&bytes).await;
    if stay {
        let _ = stream.read(&mut [0]).await;
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Seen {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: String::from_utf8(bytes[end + 4..].to_vec()).ok()?,
        nth: 0,
    })
}

/// Waits, at most 10 s, until something holds.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited 10 s for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
