//! Errors as RFC 9457 problem details: a closed code, a sentence, what to do.

use std::borrow::Cow;

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::chain;
use crate::pipeline::Refusal;
use crate::source::{Category, SourceFailure};
use crate::store::StoreError;

/// What begins the URI of every kind of problem.
const URN: &str = "urn:migrate-engine:problem:";

/// Why a request was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) hint: Cow<'static, str>,
    /// The name of the request, once it is known.
    request_id: Option<String>,
}

/// Every kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ErrorCode)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    RouteNotFound,
    MethodNotAllowed,
    InvalidRequest,
    BodyTooSlow,
    TransferNotFound,
    Unauthorized,
    Forbidden,
    RateLimited,
    TokenUnchecked,
    JobNotFound,
    ScheduleNotFound,
    VmNotFound,
    VmAmbiguous,
    VmRefused,
    VmChanged,
    SourceNotFound,
    SourceCredentials,
    SourceCertificate,
    SourceUnreachable,
    WorkerAway,
    WorkerUnwelcome,
    CallNotFound,
    SourceFailed,
    UnknownConfig,
    ReplicationInProgress,
    ScheduleBeingStarted,
    IdempotencyKeyReused,
    WrongState,
    NameTaken,
    Internal,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Code {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::RouteNotFound
            | Self::TransferNotFound
            | Self::JobNotFound
            | Self::ScheduleNotFound
            | Self::VmNotFound
            | Self::CallNotFound
            | Self::SourceNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::TokenUnchecked => StatusCode::SERVICE_UNAVAILABLE,
            Self::VmAmbiguous
            | Self::VmChanged
            | Self::ReplicationInProgress
            | Self::ScheduleBeingStarted
            | Self::WrongState
            | Self::WorkerUnwelcome
            | Self::NameTaken => StatusCode::CONFLICT,
            Self::VmRefused | Self::SourceCredentials | Self::UnknownConfig | Self::IdempotencyKeyReused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::SourceCertificate | Self::SourceUnreachable | Self::WorkerAway | Self::SourceFailed => {
                StatusCode::BAD_GATEWAY
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidRequest => "invalid_request",
            Self::BodyTooSlow => "body_too_slow",
            Self::TransferNotFound => "transfer_not_found",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::TokenUnchecked => "token_unchecked",
            Self::JobNotFound => "job_not_found",
            Self::ScheduleNotFound => "schedule_not_found",
            Self::VmNotFound => "vm_not_found",
            Self::VmAmbiguous => "vm_ambiguous",
            Self::VmRefused => "vm_refused",
            Self::VmChanged => "vm_changed",
            Self::SourceNotFound => "source_not_found",
            Self::SourceCredentials => "source_credentials",
            Self::SourceCertificate => "source_certificate",
            Self::SourceUnreachable => "source_unreachable",
            Self::WorkerAway => "worker_away",
            Self::WorkerUnwelcome => "worker_unwelcome",
            Self::CallNotFound => "call_not_found",
            Self::SourceFailed => "source_failed",
            Self::UnknownConfig => "unknown_config",
            Self::ReplicationInProgress => "replication_in_progress",
            Self::ScheduleBeingStarted => "schedule_being_started",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::WrongState => "wrong_state",
            Self::NameTaken => "name_taken",
            Self::Internal => "internal",
        }
    }
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: hint.into(),
            request_id: None,
        }
    }

    /// The same, of the request of this name.
    pub(super) fn named(self, request: &str) -> Self {
        Self {
            request_id: Some(request.to_owned()),
            ..self
        }
    }

    /// A request whose form is wrong.
    pub(super) fn invalid(detail: impl Into<String>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail, hint)
    }
}

impl From<SourceFailure> for Problem {
    fn from(failure: SourceFailure) -> Self {
        let (code, hint) = match failure.category {
            Category::NotFound => (Code::VmNotFound, "POST /api/v1/discover lists the machines"),
            Category::Ambiguous => (Code::VmAmbiguous, "name the machine by its path"),
            Category::Credentials => (
                Code::SourceCredentials,
                "check user name and password of the source",
            ),
            Category::Trust => (
                Code::SourceCertificate,
                "compare the fingerprint with the one that the source shows, and pin it in the file of sources",
            ),
            Category::Unreachable => (
                Code::SourceUnreachable,
                "check the source's address and that it is up",
            ),
            Category::Away => (
                Code::WorkerAway,
                "see that `migrate-engine worker` runs beside the source, and reaches this service",
            ),
            Category::Refused => (
                Code::VmRefused,
                "see docs/replication.md for what can be replicated",
            ),
            Category::Other => (Code::SourceFailed, "try again; the source's own log may say more"),
        };
        Self::new(code, chain(&failure), hint)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = chain(&refusal);
        match refusal {
            Refusal::Source(failure) => failure.into(),
            Refusal::UnknownConfig { .. } => Self::new(
                Code::UnknownConfig,
                detail,
                "leave it away, or give one that is served",
            ),
            Refusal::Mismatch { .. } => {
                Self::new(Code::VmChanged, detail, "POST /api/v1/discover, and ask again")
            }
            Refusal::Busy { job } => Self::new(
                Code::ReplicationInProgress,
                detail,
                format!("GET /api/v1/replications/{job} tells how far it is"),
            ),
            Refusal::KeyReused { .. } => Self::new(
                Code::IdempotencyKeyReused,
                detail,
                "a UUID for each request is a good key",
            ),
            Refusal::NoSuchJob { .. } => Self::new(
                Code::JobNotFound,
                detail,
                "GET /api/v1/replications lists the jobs",
            ),
            Refusal::WrongState { .. } => {
                Self::new(Code::WrongState, detail, "GET the job to see how it stands")
            }
            Refusal::Store(StoreError::NameTaken { .. }) => Self::new(
                Code::NameTaken,
                detail,
                "rename one of the two machines in its vCenter",
            ),
            Refusal::Store(error) => {
                tracing::error!(error = chain(&error), "the engine's records failed");
                Self::new(Code::Internal, detail, "the engine's log says more")
            }
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
            hint: &self.hint,
            request_id: self.request_id.as_deref(),
        };
        let text = serde_json::to_string(&body).expect("a problem has only strings and numbers");
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], text).into_response();
        // For whoever knows the name of the request.
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers a path that there is not.
pub(super) async fn route_not_found(uri: Uri) -> Problem {
    Problem::new(
        Code::RouteNotFound,
        format!("there is no {}", uri.path()),
        "README.md, docs/replication.md and docs/scheduling.md list what there is",
    )
}

/// Answers a method that the path does not take.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}", uri.path()),
        "what is looked at is read with GET, what changes something is asked for with POST",
    )
}
