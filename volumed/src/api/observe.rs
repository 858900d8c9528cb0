//! Around every request: its id, its span, its line in the log, its counts; and a panic becomes an answer.

use std::fmt;
use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use telemetry::trace;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::problem::{self, ApiError};
use crate::auth::{Caller, Peer};
use crate::metrics::Metrics;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a caller.
const LONGEST: usize = 64;

/// The id of a request, in the log, the answer and every problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// The caller's own id where it is plain text that can do no harm in a log, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        let sane = given.filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(is_plain));
        Self(sane.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// Wraps every request of the API.
pub(super) async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let method = label(request.method());
    let peer = request.extensions().get::<Peer>().map(tracing::field::display);
    let path = request.uri().path().to_owned();
    let span =
        tracing::info_span!("request", request_id = %id, peer, actor = tracing::field::Empty, method, path);
    trace::Context::of_headers(request.headers()).adopt(&span);
    request.extensions_mut().insert(id.clone());

    let started = Instant::now();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match answer.instrument(span.clone()).await {
        Ok(response) => response,
        Err(panic) => span.in_scope(|| {
            tracing::error!(panic = said(&*panic), "a handler panicked");
            ApiError::from(problem::internal()).into_response()
        }),
    };
    let mut response = problem::finish(response, &id);
    let value = HeaderValue::from_str(&id.0).expect("request ids are plain ASCII");
    response.headers_mut().insert(X_REQUEST_ID, value);

    let (status, took) = (response.status().as_u16(), started.elapsed());
    metrics.request_answered(route, method, status, took);
    span.in_scope(|| match status {
        500.. => tracing::warn!(status, ?took, "answered"),
        _ if route.starts_with("/api/") && method != "GET" => tracing::info!(status, ?took, "answered"),
        _ => tracing::debug!(status, ?took, "answered"),
    });
    response
}

/// Who asks, as records name it.
pub(super) fn actor(extensions: &Extensions) -> String {
    let caller = extensions.get::<Caller>().map(|caller| caller.actor.clone());
    caller.unwrap_or_else(|| {
        let peer = extensions.get::<Peer>();
        peer.map_or_else(|| "unknown".to_owned(), Peer::to_string)
    })
}

fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
