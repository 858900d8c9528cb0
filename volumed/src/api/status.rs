//! How the daemon stands.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use volume_client::types::{Counts, Status};

use super::Api;
use super::convert::operation;
use super::health::readiness;
use super::problem::ApiError;
use crate::store::{OperationRecord, StoreError, leases, mappings, operations, volumes};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/status", get(status))
}

async fn status(State(api): State<Api>) -> Result<Json<Status>, ApiError> {
    let (counts, open) = count(&api).await?;
    let operations = open.into_iter().map(|record| operation::view(record, Vec::new()));
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        provider: api.operations.provider().to_owned(),
        vm_id: api.operations.own_vm().to_owned(),
        boot_id: api.operations.boot_id().to_owned(),
        started_at: api.started_at,
        readiness: readiness(&api).await,
        counts,
        operations: operations.collect(),
        findings: api.reconciler.findings().await?,
    }))
}

/// How much there is, and the operations that have not ended.
pub(super) async fn count(api: &Api) -> Result<(Counts, Vec<OperationRecord>), StoreError> {
    let read = api.store.read(|conn| {
        let open = operations::all_open(conn)?;
        let counts = Counts {
            volumes: volumes::count(conn)?,
            mapped: mappings::all_live(conn)?.len() as u64,
            pinned: 0,
            leases: leases::list(conn, None, u32::MAX)?.len() as u64,
            open_operations: open.len() as u64,
        };
        Ok((counts, open))
    });
    let (mut counts, open) = read.await?;
    counts.pinned = api.operations.pinned() as u64;
    Ok((counts, open))
}
