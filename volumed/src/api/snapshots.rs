//! Snapshots of a volume: list, look, take, put back, delete.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use volume_client::types::{ErrorCode, NewSnapshot, Page, Snapshot, SnapshotId, VolumeId};

use super::accepted::Accepted;
use super::convert::{snapshot, volume};
use super::extract::{At, Command, Empty};
use super::problem::{ApiError, failure};
use super::volumes::not_found;
use super::{Api, page, validate};
use crate::model::Request;
use crate::store::snapshots;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/volumes/{volume_id}/snapshots", get(list).post(take))
        .route(
            "/volumes/{volume_id}/snapshots/{snapshot_id}",
            get(look).delete(delete),
        )
        .route(
            "/volumes/{volume_id}/snapshots/{snapshot_id}/revert",
            post(revert),
        )
}

async fn list(State(api): State<Api>, At(id): At<VolumeId>) -> Result<Json<Page<Snapshot>>, ApiError> {
    let read = api.store.read(move |conn| {
        let known = volume::Joined::get(conn, id)?.is_some();
        Ok(known.then_some(snapshots::of_volume(conn, id)?))
    });
    let records = read.await?.ok_or_else(|| not_found(id))?;
    Ok(Json(page::whole(
        records.into_iter().filter_map(snapshot::view).collect(),
    )))
}

async fn look(
    State(api): State<Api>,
    At(volume): At<VolumeId>,
    At(id): At<SnapshotId>,
) -> Result<Json<Snapshot>, ApiError> {
    let record = api.store.read(move |conn| snapshots::get(conn, id)).await?;
    let record = record.filter(|record| record.volume_id == volume);
    let found = record.and_then(snapshot::view).ok_or_else(|| {
        let message = format!("volume {volume} has no snapshot {id}");
        failure(ErrorCode::SnapshotNotFound, message)
    })?;
    Ok(Json(found))
}

async fn take(
    State(api): State<Api>,
    At(volume): At<VolumeId>,
    command: Command<NewSnapshot>,
) -> Result<Accepted, ApiError> {
    let name = command.body.name.clone();
    validate::name(&name)?;
    let snapshot_id = SnapshotId::new();
    api.submit(
        Some(volume),
        Request::SnapshotCreate { snapshot_id, name },
        command,
    )
    .await
}

async fn revert(
    State(api): State<Api>,
    At(volume): At<VolumeId>,
    At(snapshot_id): At<SnapshotId>,
    command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    api.submit(Some(volume), Request::SnapshotRevert { snapshot_id }, command)
        .await
}

async fn delete(
    State(api): State<Api>,
    At(volume): At<VolumeId>,
    At(snapshot_id): At<SnapshotId>,
    command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    api.submit(Some(volume), Request::SnapshotDelete { snapshot_id }, command)
        .await
}
