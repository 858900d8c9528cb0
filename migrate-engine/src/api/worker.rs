//! `/api/v1/worker`: what workers beside sources tell, are told, and the tunnels to exports. Each is known by its token.

use std::sync::Arc;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::body::Body;
use super::problem::{self, Code, Problem};
use super::token;
use crate::block::nbd::PROTOCOL;
use crate::worker::hub::{Delivery, Duplex, Hub, Unwelcome};
use crate::worker::wire::{CallId, Moved, Orders, Outcome, Report, Steer};

/// The largest message of a worker: digests and changes of a disk. 16 bytes for each MiB of it.
const LARGEST: usize = 1 << 30;

/// Which worker has a token.
pub type Named = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What workers are heard with. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    /// Where their calls are.
    pub hub: Hub,
    /// Which worker has a token.
    pub named: Named,
}

/// The worker that a request comes from.
#[derive(Clone)]
struct Name(String);

/// The API of workers, ready to be served. Only over TLS: tokens and disks go through it.
pub fn workers(state: Workers) -> Router {
    let guarded = Router::new()
        .route("/orders", post(orders))
        .route("/calls/{id}/outcome", post(outcome))
        .route("/calls/{id}/progress", post(progress))
        .route("/calls/{id}/checkpoint", post(checkpoint))
        .route("/calls/{id}/export", get(export))
        .with_state(state.clone())
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(state, require));
    Router::new()
        .nest("/api/v1/worker", guarded)
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
}

async fn require(State(state): State<Workers>, mut request: Request, next: Next) -> Response {
    let name = token::brought(request.headers()).and_then(|token| (state.named)(token));
    let Some(name) = name else {
        return token::unauthorized(
            "send `Authorization: Bearer …` with a token that the service's file of sources has for a worker",
        );
    };
    request.extensions_mut().insert(Name(name));
    next.run(request).await
}

async fn orders(
    State(state): State<Workers>,
    Extension(Name(worker)): Extension<Name>,
    Body(report): Body<Report>,
) -> Result<Json<Orders>, Problem> {
    Ok(Json(state.hub.orders(&worker, &report).await?))
}

async fn outcome(
    State(state): State<Workers>,
    Extension(Name(worker)): Extension<Name>,
    Path(id): Path<CallId>,
    Body(outcome): Body<Outcome>,
) -> Result<Json<serde_json::Value>, Problem> {
    match state.hub.outcome(&worker, id, outcome) {
        true => Ok(Json(json!({}))),
        false => Err(gone()),
    }
}

async fn progress(
    State(state): State<Workers>,
    Extension(Name(worker)): Extension<Name>,
    Path(id): Path<CallId>,
    Body(moved): Body<Moved>,
) -> Result<Json<Steer>, Problem> {
    Ok(Json(delivery(&state, &worker, id)?.moved(moved)))
}

async fn checkpoint(
    State(state): State<Workers>,
    Extension(Name(worker)): Extension<Name>,
    Path(id): Path<CallId>,
    covered: Bytes,
) -> Result<Json<serde_json::Value>, Problem> {
    let delivery = delivery(&state, &worker, id)?;
    // Waits for the disk.
    let noted = tokio::task::spawn_blocking(move || delivery.checkpoint(&covered)).await;
    let noted =
        noted.map_err(|_| Problem::new(Code::Internal, "a thread panicked", "see the service's log"))?;
    noted.map_err(|error| Problem::invalid(error.to_string(), "install the same release on both sides"))?;
    Ok(Json(json!({})))
}

/// Turns the connection into one to the export of a call.
async fn export(
    State(state): State<Workers>,
    Extension(Name(worker)): Extension<Name>,
    Path(id): Path<CallId>,
    headers: HeaderMap,
    mut request: Request,
) -> Result<Response, Problem> {
    let wants = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    if !wants.is_some_and(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL)) {
        let what = "an export is reached by `Connection: upgrade` and `Upgrade: nbd` only";
        return Err(Problem::invalid(what, "use `migrate-engine worker`"));
    }
    let delivery = delivery(&state, &worker, id)?;
    let passage = delivery.passage().await.map_err(|error| {
        let what = format!("the export cannot be reached: {error}");
        Problem::new(Code::SourceFailed, what, "the job is attempted again by itself")
    })?;
    let upgraded = hyper::upgrade::on(&mut request);
    let worker = async move {
        let stream = upgraded.await.ok()?;
        Some(Box::new(TokioIo::new(stream)) as Box<dyn Duplex>)
    };
    if !delivery.join(passage, worker) {
        return Err(gone());
    }
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, HttpBody::empty()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

fn delivery(state: &Workers, worker: &str, id: CallId) -> Result<Arc<Delivery>, Problem> {
    state.hub.delivery(worker, id).ok_or_else(gone)
}

fn gone() -> Problem {
    Problem::new(
        Code::CallNotFound,
        "nobody waits for that any more",
        "the worker drops it by itself",
    )
}

impl From<Unwelcome> for Problem {
    fn from(refusal: Unwelcome) -> Self {
        let hint = match refusal {
            Unwelcome::Protocol { .. } => "upgrade whichever is older",
            Unwelcome::Occupied { .. } => "run one worker for each token",
        };
        Self::new(Code::WorkerUnwelcome, refusal.to_string(), hint)
    }
}
