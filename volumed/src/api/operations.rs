//! Operations: list, follow, cancel.

use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use volume_client::types::{
    ErrorCode, Operation, OperationId, OperationKind, OperationStatus, Page, VolumeId,
};

use super::accepted::Accepted;
use super::convert::operation;
use super::extract::{At, Command, Empty, LONGEST_WAIT, Params, claim};
use super::problem::{ApiError, failure};
use super::{Api, page};
use crate::store::idempotency::KeyedResource;
use crate::store::{OperationFilter, operations};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/operations", get(list))
        .route("/operations/{operation_id}", get(look))
        .route("/operations/{operation_id}/cancel", post(cancel))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<OperationStatus>,
    #[serde(rename = "type")]
    kind: Option<OperationKind>,
    volume_id: Option<VolumeId>,
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<Operation>>, ApiError> {
    let limit = page::limit(query.limit)?;
    let filter = OperationFilter {
        status: query.status.map(operation::status_of),
        kind: query.kind.map(operation::kind_of),
        volume_id: query.volume_id,
        after: page::after(query.cursor.as_deref())?,
    };
    let rows = api
        .store
        .read(move |conn| operations::list(conn, &filter, limit + 1))
        .await?;
    let view = |row| operation::view(row, Vec::new());
    Ok(Json(page::page(rows, limit, |row| row.id.to_string(), view)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookQuery {
    wait: Option<u64>,
}

async fn look(
    State(api): State<Api>,
    At(id): At<OperationId>,
    Params(query): Params<LookQuery>,
) -> Result<Json<Operation>, ApiError> {
    let wait = Duration::from_secs(query.wait.unwrap_or(0)).min(LONGEST_WAIT);
    Ok(Json(api.operation(id, wait).await?))
}

async fn cancel(
    State(api): State<Api>,
    At(id): At<OperationId>,
    command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    if let Some(key) = command.key {
        let claimed = api
            .store
            .write(move |tx| claim(tx, Some(&key), KeyedResource::Operation, &id.to_string()));
        if !claimed.await? {
            return Err(key_reused());
        }
    }
    let record = api.operations.cancel(id, command.asker).await?;
    api.accepted(record, command.wait).await
}

/// What is said of a key that another request was made with.
pub(super) fn key_reused() -> ApiError {
    failure(
        ErrorCode::IdempotencyKeyReused,
        "the Idempotency-Key was used for another request",
    )
}
