//! For those who watch the daemon: alive, ready, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use telemetry::exposition::negotiated;
use volume_client::types::{Check, Readiness};

use super::{Api, present};
use crate::store::volumes;

/// How often readiness is looked at without being asked for.
const LOOK: Duration = Duration::from_secs(30);
/// What readiness is made of.
const NAMES: [&str; 4] = ["store", "cloud", "watcher", "recovery"];

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

async fn metrics(State(api): State<Api>, headers: HeaderMap) -> impl IntoResponse {
    match present::look(&api).await {
        Ok(present) => api.metrics.present(present),
        Err(error) => tracing::warn!(%error, "cannot count what is recorded"),
    }
    let (kind, text) = negotiated(&headers, api.metrics.text());
    ([(CONTENT_TYPE, kind)], text)
}

/// Looks again and again whether everything works, for the metrics: who reads them must not have to wait for the cloud.
pub(crate) async fn keep_readiness(api: Api) {
    loop {
        let checks = readiness(&api).await.checks;
        let known = NAMES.into_iter().filter_map(|name| {
            let check = checks.iter().find(|check| check.name == name)?;
            Some((name, check.ok))
        });
        api.metrics.ready(known.collect());
        tokio::select! {
            () = api.stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
