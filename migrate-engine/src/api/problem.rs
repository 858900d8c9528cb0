//! Errors as RFC 9457 problem details: a closed code, a sentence, what to do.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What begins the URI of every kind of problem.
const URN: &str = "urn:migrate-engine:problem:";

/// Why a request was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) hint: &'static str,
}

/// Every kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    RouteNotFound,
    MethodNotAllowed,
    InvalidRequest,
    TransferNotFound,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: Code,
    detail: &'a str,
    hint: &'a str,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::RouteNotFound | Self::TransferNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidRequest => "invalid_request",
            Self::TransferNotFound => "transfer_not_found",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = Body {
            kind: format!("{URN}{}", self.code.name()),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code,
            detail: &self.detail,
            hint: self.hint,
        };
        let text = serde_json::to_string(&body).expect("a problem has only strings and numbers");
        (status, [(CONTENT_TYPE, "application/problem+json")], text).into_response()
    }
}

/// Answers a path that there is not.
pub(super) async fn route_not_found(uri: Uri) -> Problem {
    Problem {
        code: Code::RouteNotFound,
        detail: format!("there is no {}", uri.path()),
        hint: "there are /api/v1/transfers, /api/v1/transfers/{id}, /api/v1/events, /metrics and /healthz",
    }
}

/// Answers a method that the path does not take.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem {
        code: Code::MethodNotAllowed,
        detail: format!("{} does not take {method}", uri.path()),
        hint: "everything here is read with GET",
    }
}
