//! A name for each request: brought along as `X-Request-Id`, or made here; in the answer, in problems, and in the log.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::Problem;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 128;

/// Names the request, and says the name in the answer.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let id = brought(&request).unwrap_or_else(|| Uuid::now_v7().to_string());
    let span = tracing::info_span!("request", request_id = id, method = %request.method(), path = request.uri().path(), actor = tracing::field::Empty);
    telemetry::trace::Context::of_headers(request.headers()).adopt(&span);
    let mut response = next.run(request).instrument(span).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let challenge = response.headers().clone();
        response = problem.named(&id).into_response();
        // What else the answer said stays said.
        for (name, value) in &challenge {
            response
                .headers_mut()
                .entry(name)
                .or_insert_with(|| value.clone());
        }
        response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The caller's own name for it, where that is fit to be repeated.
fn brought(request: &Request) -> Option<String> {
    let text = request.headers().get(HEADER)?.to_str().ok()?;
    let is_fit = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_fit.then(|| text.to_owned())
}
