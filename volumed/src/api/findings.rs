//! Findings: where the views do not agree; list, look, mend, pass over, and compare now.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use volume_client::types::{
    Finding, FindingId, IgnoreFinding, Page, ReconcileReport, ReconcileRequest, RepairStarted,
};

use super::convert::operation;
use super::extract::{At, Command, Empty};
use super::problem::ApiError;
use super::{Api, page, validate};
use crate::reconcile::Mode;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/findings", get(list))
        .route("/findings/{finding_id}", get(look))
        .route("/findings/{finding_id}/repair", post(repair))
        .route("/findings/{finding_id}/ignore", post(ignore).delete(heed))
        .route("/reconcile", post(reconcile))
}

async fn list(State(api): State<Api>) -> Result<Json<Page<Finding>>, ApiError> {
    Ok(Json(page::whole(api.reconciler.findings().await?)))
}

async fn look(State(api): State<Api>, At(id): At<FindingId>) -> Result<Json<Finding>, ApiError> {
    Ok(Json(api.reconciler.finding(&id).await?))
}

async fn repair(
    State(api): State<Api>,
    At(id): At<FindingId>,
    command: Command<Empty>,
) -> Result<impl IntoResponse, ApiError> {
    let repaired = api.reconciler.repair(&id, command.asker, command.key).await?;
    let operation = match (repaired.operation, command.wait) {
        (Some(record), Some(wait)) => Some(api.operation(record.id, wait).await?),
        (Some(record), None) => Some(operation::view(record, Vec::new())),
        (None, _) => None,
    };
    let mut headers = HeaderMap::new();
    let address = operation
        .as_ref()
        .map(|one| format!("/api/v1/operations/{}", one.id));
    if let Some(address) = address.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(LOCATION, address);
    }
    let status = match operation {
        Some(_) => StatusCode::ACCEPTED,
        None => StatusCode::OK,
    };
    let started = RepairStarted {
        finding_id: id,
        repair: repaired.repair,
        operation,
        message: repaired.message,
    };
    Ok((status, headers, Json(started)))
}

async fn ignore(
    State(api): State<Api>,
    At(id): At<FindingId>,
    command: Command<IgnoreFinding>,
) -> Result<Json<Finding>, ApiError> {
    let why = command.body.why;
    validate::why(&why)?;
    let ignored = api.reconciler.ignore(&id, why, command.asker, command.key);
    Ok(Json(ignored.await?))
}

async fn heed(
    State(api): State<Api>,
    At(id): At<FindingId>,
    command: Command<Empty>,
) -> Result<StatusCode, ApiError> {
    api.reconciler.heed(&id, command.asker, command.key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key is not kept: a repetition looks again, which is what is asked for.
async fn reconcile(
    State(api): State<Api>,
    command: Command<ReconcileRequest>,
) -> Result<Json<ReconcileReport>, ApiError> {
    let mode = match command.body.dry_run {
        true => Mode::Look,
        false => Mode::Mend,
    };
    Ok(Json(api.reconciler.compare(mode).await?))
}
