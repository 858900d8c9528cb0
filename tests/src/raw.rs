//! HTTP as no honest client would speak it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use volume_client::client::trust::nobody;
use volume_client::types::Problem;

/// A connection to a daemon's socket that sends whatever it is told.
#[derive(Debug, Clone)]
pub struct Raw {
    http: Client,
    socket: PathBuf,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The problem that the body tells.
    ///
    /// # Panics
    /// Where it tells none, or one whose status, type or request id do not fit the rest of the answer.
    #[must_use]
    #[track_caller]
    pub fn problem(&self) -> Problem {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:#?}"
        );
        let problem: Problem =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        assert_eq!(problem.status, self.status.as_u16(), "{self:#?}");
        assert_eq!(problem.status, problem.code.http_status(), "{self:#?}");
        assert_eq!(
            problem.problem_type,
            format!("urn:volumed:problem:{}", problem.code)
        );
        assert_eq!(
            problem.request_id.as_deref(),
            Some(self.header("x-request-id")),
            "{self:#?}"
        );
        problem
    }

    /// A header, empty where it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

impl Raw {
    pub(crate) fn to(socket: &Path) -> Self {
        let http = volume_client::client::http(nobody()).unix_socket(socket.to_owned());
        Self {
            http: http.timeout(Duration::from_secs(30)).build().unwrap(),
            socket: socket.to_owned(),
        }
    }

    /// A request that can be spoiled before it is sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://localhost{path}"))
    }

    /// Sends a request and reads its whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("the daemon answers")
    }

    /// As [`Raw::send`], for a daemon that may be away.
    ///
    /// # Errors
    /// Where there is no whole answer.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Reads `path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts `body` as JSON, whatever it is.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        self.send(request.body(body)).await
    }

    /// Sends these very bytes, and returns what comes back until the daemon closes.
    pub async fn bytes(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The daemon may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
