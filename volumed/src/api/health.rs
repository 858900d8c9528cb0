//! For those who watch the daemon: alive, ready, metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use volume_client::types::{Check, Readiness};

use super::Api;
use super::status::count;
use crate::metrics::{CONTENT_TYPE as OPENMETRICS, Present};
use crate::store::volumes;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn alive() -> &'static str {
    "alive\n"
}

async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let readiness = readiness(&api).await;
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness))
}

/// Whether everything works that the daemon needs: the store by a read, the rest by what operations know.
pub(super) async fn readiness(api: &Api) -> Readiness {
    let read = api.store.read(volumes::count).await;
    let has_room = api.store.has_room().await;
    let store = Check {
        name: "store".to_owned(),
        ok: read.is_ok() && has_room,
        detail: match read {
            Err(error) => error.to_string(),
            Ok(_) if !has_room => "the disk is full: nothing new is taken, what has begun goes on".to_owned(),
            Ok(n) => format!("{n} volumes are recorded"),
        },
    };
    let others = api.operations.checks().await.into_iter();
    let others = others.map(|(name, ok, detail)| Check {
        name: name.to_owned(),
        ok,
        detail,
    });
    let checks: Vec<_> = std::iter::once(store).chain(others).collect();
    Readiness {
        ready: checks.iter().all(|check| check.ok),
        checks,
    }
}

async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    match count(&api).await {
        Ok((counts, _)) => api.metrics.present(Present {
            open_operations: counts.open_operations,
            leases: counts.leases,
            pinned: counts.pinned,
        }),
        Err(error) => tracing::warn!(%error, "cannot count what is recorded"),
    }
    ([(CONTENT_TYPE, OPENMETRICS)], api.metrics.text())
}
