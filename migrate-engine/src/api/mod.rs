//! The HTTP APIs of the engine: discovery, known sources, replications, schedules, and how far transfers are, as JSON, as a
//! stream, and as metrics.
//!
//! The numbers are those of the terminal: one [`Progress`](crate::transfer::Progress) tells all of them.

mod access;
mod body;
mod discover;
mod events;
mod job;
mod metrics;
mod openapi;
mod problem;
mod ready;
mod recognised;
mod replications;
mod request_id;
mod schedules;
mod sources;
#[cfg(test)]
mod tests;
mod token;
mod transfers;
mod vm;
mod worker;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Router, middleware};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Board, Desk};

pub use access::Access;
pub use discover::{Discoverer, DiscoveryRequest, discovered};
pub use recognised::{Recognised, TokenKeeper, Unanswered};
pub use schedules::Schedules;
pub use token::Token;
pub use worker::{Named, Workers, workers};

/// The largest request.
const LARGEST: usize = 1 << 20;

/// What the API answers from. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The transfers.
    pub board: Board,
    /// Cancelled when the process ends: streams then end.
    pub stopping: CancellationToken,
    /// The replications, where they are served.
    pub desk: Option<Desk>,
    /// Tells until when the certificate holds that is shown, where one is.
    pub expiry: Option<Expiry>,
}

/// Tells when something expires, as it is now.
pub type Expiry = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// The API, ready to be served.
pub fn router(api: Api) -> Router {
    Router::new()
        .nest("/api/v1", transfers::routes().merge(events::routes()))
        .route("/metrics", get(metrics::serve))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api)
        .layer(middleware::from_fn(request_id::name))
}

/// What replications are asked for through. Cheap to clone.
#[derive(Clone)]
pub struct Replications {
    /// How far transfers are.
    pub api: Api,
    /// Where they are asked for.
    pub desk: Desk,
    /// What begins by itself.
    pub schedules: Schedules,
    /// Who is let in.
    pub access: Arc<Access>,
}

/// The API of replications, ready to be served: with those of schedules and transfers, behind tokens but for `/healthz`, `/readyz` and the description.
pub fn replications(state: Replications) -> Router {
    let ready = Router::new()
        .route("/readyz", get(ready::serve))
        .with_state(state.clone());
    let guarded = Router::new()
        .nest("/api/v1", replications::routes().merge(sources::routes()))
        .with_state(state.clone())
        .merge(
            Router::new()
                .nest("/api/v1", schedules::routes())
                .with_state(state.schedules),
        )
        .merge(
            Router::new()
                .nest("/api/v1", transfers::routes().merge(events::routes()))
                .route("/metrics", get(metrics::serve))
                .with_state(state.api),
        )
        .layer(middleware::from_fn_with_state(state.access, access::require));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/openapi.json", get(openapi::serve))
        .merge(ready)
        .merge(guarded)
        .layer(DefaultBodyLimit::max(LARGEST))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn(request_id::name))
}

/// The API of discovery, ready to be served. Who asks brings along who he is at the source.
pub fn discovery(discoverer: Arc<dyn Discoverer>) -> Router {
    Router::new()
        .nest("/api/v1", discover::routes())
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/openapi.json", get(openapi::serve))
        .layer(DefaultBodyLimit::max(LARGEST))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(discoverer)
        .layer(middleware::from_fn(request_id::name))
}
