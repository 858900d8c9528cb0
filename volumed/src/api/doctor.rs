//! The examination of the daemon and everything around it.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use volume_client::types::{Check as ReadinessCheck, CheckArea, DoctorReport};

use super::Api;
use super::health::readiness;
use crate::doctor::{report, within};
use crate::model::Check;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/doctor", get(doctor))
}

async fn doctor(State(api): State<Api>) -> Json<DoctorReport> {
    let daemon = async {
        let checks = readiness(&api).await.checks;
        checks.into_iter().map(judged).collect()
    };
    let (mut checks, daemon) = tokio::join!((api.doctor)(), within(CheckArea::Daemon, daemon));
    checks.extend(daemon);
    Json(report(checks))
}

/// What the daemon knows of itself: what is not well keeps it from taking work.
fn judged(check: ReadinessCheck) -> Check {
    if check.ok {
        return Check::passed(check.name, check.detail);
    }
    let advice = match check.name.as_str() {
        "store" => "the daemon's log says more; is there room, and is the disk well?",
        "cloud" => "what is said about the cloud above comes first",
        "watcher" => "what is said about the devices above comes first",
        _ => "wait; `volumectl status` shows what it waits for",
    };
    Check::failed(check.name, check.detail, advice)
}
