//! The bearer token of the service's own file: whoever has it may ask for everything.

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};

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
    pub(super) fn is(&self, secret: &str) -> bool {
        blake3::hash(secret.as_bytes()) == self.0
    }
}

/// The token that a request brings.
pub(super) fn brought(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
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
