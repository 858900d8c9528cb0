//! One request and its repeats: what was certainly not sent, what may have arrived, and bodies with a bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::trust::rejected;
use super::{ClientError, IdempotencyKey, ProtocolError, VolumedClient};
use crate::types::{Operation, Problem};

/// The largest body that is read, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) retry_after: Option<Duration>,
    /// Whether an earlier try may have arrived.
    pub(super) after_doubt: bool,
}

impl VolumedClient {
    /// A request for a path below the API's base.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain_request(method, &format!("/api/v1{path}"))
    }

    /// A request for a path outside the API's base.
    pub(super) fn plain_request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.inner.base.clone();
        url.set_path(path);
        self.http.request(method, url)
    }

    /// Reads.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.fetch(self.request(Method::GET, path).query(query)).await
    }

    /// Sends, with repeats, and decodes what comes back.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, builder: RequestBuilder) -> Result<T, ClientError> {
        let request = self.build(builder)?;
        let what = name(&request);
        let answer = self.send(request).await?;
        decode(&what, &answer)
    }

    /// A change with a body.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.keyed(self.request(Method::POST, path)).json(body)
    }

    /// A change by `DELETE`.
    pub(super) fn delete(&self, path: &str) -> RequestBuilder {
        self.keyed(self.request(Method::DELETE, path))
    }

    /// Asks for a change that is an operation.
    pub(super) async fn submit(&self, path: &str, body: &impl Serialize) -> Result<Operation, ClientError> {
        self.fetch(self.post(path, body)).await
    }

    fn keyed(&self, builder: RequestBuilder) -> RequestBuilder {
        let key = self.key.clone().unwrap_or_else(IdempotencyKey::fresh);
        builder.header(IDEMPOTENCY_KEY, key.as_str())
    }

    pub(super) fn build(&self, builder: RequestBuilder) -> Result<Request, ClientError> {
        builder.build().map_err(|e| ClientError::Protocol {
            what: "the request that was to be sent".to_owned(),
            source: ProtocolError::Content(e.to_string()),
        })
    }

    /// Tries until there is an answer other than 503, or the tries are used up.
    ///
    /// Repeats are safe: what is no reading has an idempotency key, the same in every try. If any try may have
    /// arrived and no later one was answered, that doubt is what is reported.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, ClientError> {
        let mut doubt: Option<ClientError> = None;
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let again = copy(&request);
            let outcome = self.attempt(again, self.inner.request_timeout).await;
            let last = tries >= self.inner.attempts;
            let mut wait = pause;
            match outcome {
                Ok(mut answer) if answer.status != StatusCode::SERVICE_UNAVAILABLE => {
                    answer.after_doubt = doubt.is_some();
                    return Ok(answer);
                }
                Ok(mut answer) => {
                    if last {
                        answer.after_doubt = doubt.is_some();
                        return doubt.map_or(Ok(answer), Err);
                    }
                    wait = answer.retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    let repeatable = is_transient(&error);
                    let unsure = error.outcome_unknown();
                    if last || !repeatable {
                        return Err(if unsure { error } else { doubt.unwrap_or(error) });
                    }
                    tracing::debug!(what = name(&request), tries, error = %error, "trying again");
                    if unsure {
                        doubt = Some(error);
                    }
                }
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    /// One try.
    pub(super) async fn attempt(&self, request: Request, patience: Duration) -> Result<Answer, ClientError> {
        let span = tracing::info_span!("volumed", method = %request.method(), path = request.url().path());
        self.try_once(request, patience).instrument(span).await
    }

    async fn try_once(&self, mut request: Request, patience: Duration) -> Result<Answer, ClientError> {
        self.name(&mut request);
        *request.timeout_mut() = Some(patience);
        let call = self.describe(&request, patience);
        let response = self.http.execute(request).await.map_err(|e| call.failure(e))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = read_body(response, &call).await?;
        tracing::debug!(status = status.as_u16(), "the daemon answered");
        Ok(Answer {
            status,
            body,
            retry_after,
            after_doubt: false,
        })
    }

    /// Tells the daemon whose request this is.
    pub(super) fn name(&self, request: &mut Request) {
        if let Some(id) = &self.request_id {
            request.headers_mut().insert(REQUEST_ID, id.header());
        }
        (self.inner.headers)(request.headers_mut());
    }

    pub(super) fn describe(&self, request: &Request, patience: Duration) -> Described {
        let key = request.headers().get(IDEMPOTENCY_KEY);
        Described {
            what: name(request),
            target: self.inner.target.clone(),
            patience,
            key: key.and_then(|value| value.to_str().ok()?.parse().ok()),
        }
    }
}

/// A request as errors name it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) what: String,
    target: String,
    patience: Duration,
    key: Option<IdempotencyKey>,
}

impl Described {
    pub(super) fn failure(&self, error: reqwest::Error) -> ClientError {
        let source = error.without_url();
        if source.is_connect() {
            let target = self.target.clone();
            if let Some(refusal) = rejected(&source) {
                return ClientError::Untrusted {
                    target,
                    source: Box::new(refusal),
                };
            }
            return ClientError::Unreachable { target, source };
        }
        if source.is_timeout() {
            return self.timed_out(self.patience);
        }
        ClientError::AnswerLost {
            what: self.what.clone(),
            key: self.key.clone(),
            source,
        }
    }

    pub(super) fn timed_out(&self, after: Duration) -> ClientError {
        ClientError::TimedOut {
            what: self.what.clone(),
            after,
            key: self.key.clone(),
        }
    }

    pub(super) fn too_large(&self) -> ClientError {
        protocol(&self.what, ProtocolError::TooLarge { limit: MAX_BODY })
    }
}

/// Whether another try of the same request may succeed.
pub(super) fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::AnswerLost { .. } => {
            true
        }
        ClientError::Problem(problem) => problem.status == 503,
        ClientError::Protocol {
            source: ProtocolError::Status { status, .. },
            ..
        } => *status == 503,
        _ => false,
    }
}

/// The body of a good answer, or the problem that a bad one tells.
pub(super) fn decode<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, ClientError> {
    if !answer.status.is_success() {
        return Err(refusal(what, answer.status, &answer.body));
    }
    serde_json::from_slice(&answer.body).map_err(|e| protocol(what, ProtocolError::Body(e)))
}

/// What an answer that is no success says.
pub(super) fn refusal(what: &str, status: StatusCode, body: &[u8]) -> ClientError {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return ClientError::Problem(Box::new(problem));
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(800)]);
    let excerpt = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    let status = status.as_u16();
    protocol(what, ProtocolError::Status { status, excerpt })
}

pub(super) fn protocol(what: &str, source: ProtocolError) -> ClientError {
    ClientError::Protocol {
        what: what.to_owned(),
        source,
    }
}

pub(super) fn name(request: &Request) -> String {
    format!("{} {}", request.method(), request.url().path())
}

pub(super) fn copy(request: &Request) -> Request {
    request.try_clone().expect("bodies are bytes, never streams")
}

pub(super) async fn read_body(mut response: Response, call: &Described) -> Result<Bytes, ClientError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_BODY as u64 {
        return Err(call.too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| call.failure(e))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(call.too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
