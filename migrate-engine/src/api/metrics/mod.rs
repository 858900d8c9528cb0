//! `GET /metrics`: transfers, replications, workers and the process in numbers, for Prometheus.

mod jobs;
#[cfg(test)]
mod tests;
mod transfers;

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use telemetry::exposition::{negotiated, openmetrics};

use super::Api;
use jobs::Jobs;
use transfers::Transfers;

/// What every name begins with.
const PREFIX: &str = "migrate_engine";

pub(super) async fn serve(State(api): State<Api>, headers: HeaderMap) -> impl IntoResponse {
    // The records are read from the disk.
    let text = tokio::task::spawn_blocking(move || text(api))
        .await
        .unwrap_or_default();
    let (kind, text) = negotiated(&headers, text);
    ([(CONTENT_TYPE, kind)], text)
}

fn text(api: Api) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Transfers(api.board)));
    if let Some(desk) = api.desk {
        registry.register_collector(Box::new(Jobs(desk)));
    }
    if let Some(at) = api.expiry.and_then(|expiry| expiry()) {
        let help =
            "Until when the certificate holds that is shown to callers from elsewhere, in seconds since 1970";
        let expiry: Gauge<f64, AtomicU64> = Gauge::default();
        expiry.set(at.as_duration().as_secs_f64());
        registry.register("certificate_expiry_timestamp_seconds", help, expiry);
    }
    openmetrics(&registry, PREFIX, env!("CARGO_PKG_VERSION"))
}
