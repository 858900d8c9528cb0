//! The audit trail, read back: newest first.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use volume_client::types::{AuditLine, Page, VolumeId};

use super::extract::Params;
use super::problem::ApiError;
use super::{Api, page};
use crate::store::{AuditRecord, audit};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/audit", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    volume_id: Option<VolumeId>,
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<AuditLine>>, ApiError> {
    let limit = page::limit(query.limit)?;
    let before: Option<i64> = page::after(query.cursor.as_deref())?;
    let rows = api
        .store
        .read(move |conn| audit::list(conn, query.volume_id, before, limit + 1));
    Ok(Json(page::page(
        rows.await?,
        limit,
        |row| row.id.to_string(),
        line,
    )))
}

fn line(record: AuditRecord) -> AuditLine {
    AuditLine {
        id: record.id.unsigned_abs(),
        at: record.at,
        actor: record.actor,
        action: record.action,
        volume_id: record.volume_id,
        operation_id: record.operation_id,
        why: record.why,
        before: record.before,
        after: record.after,
    }
}
