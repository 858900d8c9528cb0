//! One question to the service and its answer, bounded in time and size.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use volume_client::client::trust::{nobody, rejected};

use super::super::plain::plain;
use super::ClientError;
use crate::source::vsphere::{Trust, client_config};

/// How long an answer may take; the service itself gives up on a source after 14 seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 << 20;

/// A client of the service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token_file: PathBuf,
}

/// What is asked.
pub(super) struct Question<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<(Value, String)>,
    patience: Duration,
}

/// What the service says where it does not do what it was asked for.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    hint: Option<String>,
}

impl<'a> Question<'a> {
    pub(super) fn new(method: Method, path: &[&'a str]) -> Self {
        Self {
            method,
            path: path.to_vec(),
            query: Vec::new(),
            body: None,
            patience: PATIENCE,
        }
    }

    /// With a value, where there is one.
    pub(super) fn given(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    pub(super) fn with(mut self, body: Value, idempotency_key: &str) -> Self {
        self.body = Some((body, idempotency_key.to_owned()));
        self
    }

    /// The service is asked to wait so long itself.
    pub(super) fn patient(mut self, wait: Duration) -> Self {
        self.patience += wait;
        self
    }
}

impl Client {
    pub(super) fn of(base: Url, token_file: &Path, trust: &Trust) -> Result<Self, ClientError> {
        let path = || token_file.to_owned();
        let text = std::fs::read_to_string(token_file)
            .map_err(|source| ClientError::TokenFile { path: path(), source })?;
        let token = Some(text.trim()).filter(|token| !token.is_empty());
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| ClientError::NoToken { path: path() })?;
        header.set_sensitive(true);
        let tls = match base.scheme() {
            "https" => client_config(trust)?,
            _ => nobody(),
        };
        let http = volume_client::client::http(tls)
            .connect_timeout(CONNECT)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)]))
            .user_agent(concat!("migrate-engine/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| ClientError::Lost {
                url: shown(&base),
                source,
            })?;
        Ok(Self {
            http,
            base,
            token_file: path(),
        })
    }

    /// Asks once.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Value, ClientError> {
        let after = question.patience;
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "v1"]).extend(&question.path);
        }
        let mut request = self.http.request(question.method, url).timeout(after);
        if !question.query.is_empty() {
            request = request.query(&question.query);
        }
        if let Some((body, key)) = question.body {
            request = request.header("idempotency-key", key).json(&body);
        }
        let response = request.send().await.map_err(|error| self.failure(error, after))?;
        let status = response.status();
        let body = self.body(response, after).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.strange(error));
        }
        Err(self.refusal(status, &body))
    }

    async fn body(&self, mut response: Response, after: Duration) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failure(error, after))?
        {
            if body.len() + chunk.len() > LARGEST {
                return Err(self.strange(format!("it answers more than {LARGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        if status == StatusCode::UNAUTHORIZED {
            return ClientError::Unauthorized {
                url: shown(&self.base),
                token_file: self.token_file.clone(),
            };
        }
        match serde_json::from_slice::<Problem>(body) {
            // Another version, or the port of something else of ours.
            Ok(problem) if problem.code == "route_not_found" => self.strange(problem.detail),
            Ok(problem) => ClientError::Refused {
                code: plain(&problem.code),
                detail: plain(&problem.detail),
                hint: problem.hint.as_deref().map(plain),
            },
            Err(_) => self.strange(format!("it answers {status}")),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, ClientError> {
        serde_json::from_value(answer).map_err(|error| self.strange(error))
    }

    pub(super) fn strange(&self, why: impl ToString) -> ClientError {
        ClientError::Strange {
            url: shown(&self.base),
            why: plain(&why.to_string()),
        }
    }

    fn failure(&self, error: reqwest::Error, after: Duration) -> ClientError {
        let (url, source) = (shown(&self.base), error.without_url());
        if let Some(refusal) = rejected(&source) {
            let source = Box::new(refusal);
            return ClientError::Untrusted { url, source };
        }
        match () {
            () if source.is_connect() => ClientError::Unreachable { url, source },
            () if source.is_timeout() => ClientError::Late { url, after },
            () => ClientError::Lost { url, source },
        }
    }
}

fn shown(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}
