//! The HTTP API: it reads records, submits operations, and says what went wrong in one form.
//!
//! A handler takes a request apart, asks the store or the operations, and converts the answer; nothing is decided here.
//! Where the views do not agree is the reconciler's to say, and what is ordered about it goes to it. `convert` holds the way from records to wire types, `problem` the only mapping of errors to HTTP.

mod accepted;
mod access;
mod audit;
mod backup;
mod convert;
mod devices;
mod doctor;
mod events;
mod explain;
mod extract;
mod findings;
mod health;
mod leases;
mod observe;
pub mod openapi;
mod operations;
mod page;
mod present;
mod problem;
mod snapshots;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod validate;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use volume_client::types::DoctorCheck;

pub use access::Access;
use access::Gate;
pub(crate) use health::keep_readiness;

use crate::metrics::Metrics;
use crate::model::Bytes;
use crate::operation::Operations;
use crate::reconcile::Reconciler;
use crate::store::Store;

/// Examines what is around the daemon: cloud, devices, host.
pub type DoctorSource = Arc<dyn Fn() -> BoxFuture<'static, Vec<DoctorCheck>> + Send + Sync>;

/// What the API answers from. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The records.
    pub store: Store,
    /// The door to every change.
    pub operations: Operations,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the views do not agree.
    pub reconciler: Arc<Reconciler>,
    /// How the surroundings are.
    pub doctor: DoctorSource,
    /// Cancelled when the daemon stops: streams and long polls then end.
    pub stopping: CancellationToken,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// The API, ready to be served. Requests carry their [`crate::auth::Peer`] as an extension; one that does not is an
/// `unknown` actor's.
pub fn router(api: Api, body_limit: Bytes, access: Access) -> Router {
    let resources = Router::new()
        .merge(volumes::routes())
        .merge(snapshots::routes())
        .merge(operations::routes())
        .merge(devices::routes())
        .merge(findings::routes())
        .merge(audit::routes())
        .merge(explain::routes())
        .merge(backup::routes())
        .merge(doctor::routes())
        .merge(leases::routes())
        .merge(events::routes())
        .merge(status::routes())
        .merge(tokens::routes());
    let gate = Gate::new(access, api.store.clone());
    let routes = Router::new()
        .nest("/api/v1", resources)
        .merge(health::routes())
        .route("/openapi.json", get(openapi::serve))
        .layer(from_fn_with_state(gate, access::require));
    let metrics = api.metrics.clone();
    finish(routes, metrics, body_limit).with_state(api)
}

/// Lays around `routes` what every answer has: problems for what is not there, a limit for bodies, a request id.
fn finish<S>(routes: Router<S>, metrics: Metrics, body_limit: Bytes) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let limit = usize::try_from(body_limit.0).unwrap_or(usize::MAX);
    routes
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(limit))
        .layer(from_fn_with_state(metrics, observe::observe))
}
