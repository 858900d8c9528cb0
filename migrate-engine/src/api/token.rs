//! The bearer token: whoever has it may ask for replications.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serving::Peer;

use super::problem::{Code, Problem};

/// A token; only its hash is kept.
#[derive(Clone)]
pub struct Token(blake3::Hash);

impl Token {
    /// The token of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// Hashes are compared in constant time.
    fn is_brought_by(&self, headers: &HeaderMap) -> bool {
        brought(headers).is_some_and(|token| blake3::hash(token.as_bytes()) == self.0)
    }
}

/// The token that a request brings.
pub(super) fn brought(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

pub(super) async fn require(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    // Who may open our Unix socket may ask for everything: its mode is the permission.
    let is_near = matches!(request.extensions().get(), Some(Peer::Unix { .. }));
    if is_near || token.is_brought_by(request.headers()) {
        return next.run(request).await;
    }
    unauthorized("send `Authorization: Bearer …` with the token that stands in the service's token file")
}

/// That a token is missing or wrong, and which is wanted.
pub(super) fn unauthorized(hint: &'static str) -> Response {
    let what = "the request brings no token, or a wrong one";
    let problem = Problem::new(Code::Unauthorized, what, hint);
    let mut response = problem.into_response();
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
