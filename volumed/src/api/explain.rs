//! A volume explained: what record, cloud and kernel say of it, what goes on, and what comes next.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use volume_client::types::{Explanation, VolumeId};

use super::Api;
use super::convert::{lease, operation, volume};
use super::extract::At;
use super::problem::ApiError;
use super::volumes::not_found;
use crate::store::{journal, leases};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/volumes/{volume_id}/explain", get(explain))
}

async fn explain(State(api): State<Api>, At(id): At<VolumeId>) -> Result<Json<Explanation>, ApiError> {
    let explained = api.reconciler.explain(id).await?.ok_or_else(|| not_found(id))?;
    let latest = explained.operation.as_ref().map(|operation| operation.id);
    let rows = api.store.read(move |conn| {
        let steps = latest
            .map(|operation| journal::read(conn, operation))
            .transpose()?;
        Ok((
            volume::Joined::get(conn, id)?,
            leases::live_of(conn, id)?,
            steps.unwrap_or_default(),
        ))
    });
    let (joined, leases, steps) = rows.await?;
    let joined = joined.ok_or_else(|| not_found(id))?;
    let now = Timestamp::now();
    Ok(Json(Explanation {
        volume: volume::view(joined, api.operations.conditions(id)),
        record: explained.record,
        cloud: explained.cloud,
        kernel: explained.kernel,
        used_by: explained.used_by,
        operation: explained.operation.map(|record| operation::view(record, steps)),
        leases: leases
            .into_iter()
            .map(|record| lease::view(record, now))
            .collect(),
        findings: explained.findings,
        next: explained.next,
    }))
}
