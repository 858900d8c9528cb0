//! The HTTP API of the engine: how far its transfers are, as JSON, as a stream, and as metrics. It changes nothing.
//!
//! The numbers are those of the terminal: one [`Progress`](crate::transfer::Progress) tells all of them.

mod events;
mod metrics;
mod problem;
#[cfg(test)]
mod tests;
mod transfers;

use axum::Router;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Board;

/// What the API answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// The transfers.
    pub board: Board,
    /// Cancelled when the process ends: streams then end.
    pub stopping: CancellationToken,
}

/// The API, ready to be served.
pub fn router(api: Api) -> Router {
    Router::new()
        .nest("/api/v1", transfers::routes().merge(events::routes()))
        .route("/metrics", get(metrics::serve))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api)
}
