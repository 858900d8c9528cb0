//! The one mapping of errors to HTTP: status, closed code, a sentence, and what to do.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use volume_client::types::{ErrorCode, OperationId, Problem};

use super::observe::RequestId;
use crate::model::Failure;
use crate::operation::OperationError;
use crate::store::StoreError;

/// What begins the URI of every kind of problem.
const URN: &str = "urn:volumed:problem:";

/// Why a request was not answered as asked.
#[derive(Debug)]
pub(super) struct ApiError(OperationError);

impl<E: Into<OperationError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// A failure with this code: what the API itself finds wrong.
pub(super) fn failure(code: ErrorCode, message: impl Into<String>) -> ApiError {
    Failure::new(code, message).into()
}

/// A problem on its way out; [`finish`] gives it its request id and makes it the body.
#[derive(Clone)]
struct Pending(Box<Problem>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (failure, operation) = explain(self.0);
        let problem = problem(failure, operation);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Pending(Box::new(problem)));
        response
    }
}

fn explain(error: OperationError) -> (Failure, Option<OperationId>) {
    let failure = match error {
        OperationError::Refused { failure, operation } => return (failure, operation),
        OperationError::NotReady(why) => Failure::new(ErrorCode::NotReady, why).hint("try again in a moment"),
        OperationError::Store(error) => of_store(error),
    };
    (failure, None)
}

fn of_store(error: StoreError) -> Failure {
    match error {
        StoreError::Full(_) => Failure::new(ErrorCode::StoreFull, "the daemon's database has no room left")
            .hint("make room on the file system that holds the database; nothing was changed"),
        StoreError::Stopped => Failure::new(ErrorCode::NotReady, "the daemon is stopping")
            .hint("try again once it has been started again"),
        StoreError::Conflict { rule } => {
            tracing::warn!(rule, "a change met another one");
            Failure::new(
                ErrorCode::WrongState,
                "another change came first; nothing was changed",
            )
            .hint("look at the volume again, then repeat the request")
        }
        StoreError::Stale(what) => Failure::new(ErrorCode::WrongState, what)
            .hint("look at the volume again, then repeat the request"),
        error @ (StoreError::Newer { .. }
        | StoreError::Damaged { .. }
        | StoreError::Restoring { .. }
        | StoreError::InUse { .. }
        | StoreError::Foreign { .. }
        | StoreError::Open { .. }
        | StoreError::Sqlite(_)) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the database failed");
            internal()
        }
    }
}

/// What is said where the daemon itself is at fault; the log has the rest under the request id.
pub(super) fn internal() -> Failure {
    Failure::new(
        ErrorCode::Internal,
        "the daemon could not do this; its log says why under the request id",
    )
}

fn problem(failure: Failure, operation_id: Option<OperationId>) -> Problem {
    let status = failure.code.http_status();
    let title = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason());
    Problem {
        problem_type: format!("{URN}{}", failure.code),
        title: title.unwrap_or("Error").to_owned(),
        status,
        code: failure.code,
        detail: failure.message,
        hint: failure.hint,
        request_id: None,
        operation_id,
    }
}

/// Turns the problem that a response carries, if any, into its body.
pub(super) fn finish(response: Response, id: &RequestId) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(Pending(mut problem)) = parts.extensions.remove::<Pending>() else {
        return Response::from_parts(parts, body);
    };
    problem.request_id = Some(id.to_string());
    let json = serde_json::to_vec(&problem).expect("a problem has only strings and numbers");
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let kind = axum::http::HeaderValue::from_static("application/problem+json");
    parts.headers.insert(CONTENT_TYPE, kind);
    Response::from_parts(parts, json.into())
}

/// Answers a path that there is not.
pub(super) async fn route_not_found(uri: Uri) -> ApiError {
    let mut failure = Failure::new(ErrorCode::RouteNotFound, format!("there is no {}", uri.path()));
    failure.hint = Some("GET /openapi.json lists every path".to_owned());
    failure.into()
}

/// Answers a method that the path does not take.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    failure(ErrorCode::MethodNotAllowed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(error: impl Into<OperationError>) -> Problem {
        let (failure, operation) = explain(error.into());
        problem(failure, operation)
    }

    #[test]
    fn every_code_is_answered_with_its_status_and_its_urn() {
        for &code in ErrorCode::ALL {
            let found = mapped(Failure::new(code, "why").hint("what to do"));
            assert_eq!((found.code, found.status), (code, code.http_status()));
            assert_eq!(found.problem_type, format!("urn:volumed:problem:{code}"));
            assert_ne!(found.title, "Error", "{code}: {} has no words", found.status);
            assert_eq!(found.detail, "why");
            assert_eq!(found.hint.as_deref(), Some("what to do"));
        }
    }

    #[test]
    fn the_operation_in_the_way_is_named() {
        let operation = OperationId::new();
        let found = mapped(OperationError::Refused {
            failure: Failure::new(ErrorCode::OperationInProgress, "busy"),
            operation: Some(operation),
        });
        assert_eq!(found.operation_id, Some(operation));
    }

    #[test]
    fn what_the_store_says_is_mapped_by_what_a_caller_can_do() {
        let full = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(13), None);
        let broken = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(10), Some("secret".into()));
        let rule = "UNIQUE constraint failed: leases.volume_id".to_owned();
        for (error, code) in [
            (StoreError::from(full), ErrorCode::StoreFull),
            (StoreError::Stopped, ErrorCode::NotReady),
            (StoreError::Conflict { rule }, ErrorCode::WrongState),
            (
                StoreError::Stale("volume x is gone".into()),
                ErrorCode::WrongState,
            ),
            (StoreError::from(broken), ErrorCode::Internal),
        ] {
            let found = mapped(error);
            assert_eq!(found.code, code);
            assert!(!found.detail.contains("secret") && !found.detail.contains("UNIQUE"));
        }
    }

    #[test]
    fn a_daemon_that_is_not_ready_says_so() {
        let found = mapped(OperationError::NotReady("recovery is under way".into()));
        assert_eq!((found.code, found.status), (ErrorCode::NotReady, 503));
    }
}
