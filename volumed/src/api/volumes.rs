//! Volumes: list, look, create, adopt, resize, delete, attach, detach, correlate, and the verified device.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use volume_client::types::{
    AdoptVolume, AttachVolume, ErrorCode, NewVolume, Page, ResizeVolume, Volume, VolumeDevice, VolumeId,
    VolumeState,
};

use super::accepted::Accepted;
use super::convert::{device, volume};
use super::extract::{At, Command, Empty, Params};
use super::problem::{ApiError, failure};
use super::{Api, page, validate};
use crate::model::Request;
use crate::operation::Adoption;
use crate::store::VolumeFilter;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/volumes", get(list).post(create))
        .route("/volumes/adopt", post(adopt))
        .route("/volumes/{volume_id}", get(look).delete(delete))
        .route("/volumes/{volume_id}/attach", post(attach))
        .route("/volumes/{volume_id}/detach", post(detach))
        .route("/volumes/{volume_id}/resize", post(resize))
        .route("/volumes/{volume_id}/correlate", post(correlate))
        .route("/volumes/{volume_id}/device", get(verified_device))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    source_vm: Option<String>,
    source_disk: Option<String>,
    state: Option<VolumeState>,
    name: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<Volume>>, ApiError> {
    let limit = page::limit(query.limit)?;
    let filter = VolumeFilter {
        state: query.state.map(volume::state_of),
        name: query.name,
        source_vm: query.source_vm,
        source_disk: query.source_disk,
        after: page::after(query.cursor.as_deref())?,
    };
    let rows = api
        .store
        .read(move |conn| volume::Joined::list(conn, &filter, limit + 1))
        .await?;
    let view = |row: volume::Joined| {
        let conditions = api.operations.conditions(row.record.id);
        volume::view(row, conditions)
    };
    Ok(Json(page::page(
        rows,
        limit,
        |row| row.record.id.to_string(),
        view,
    )))
}

async fn look(State(api): State<Api>, At(id): At<VolumeId>) -> Result<Json<Volume>, ApiError> {
    let row = api.store.read(move |conn| volume::Joined::get(conn, id)).await?;
    let row = row.ok_or_else(|| not_found(id))?;
    Ok(Json(volume::view(row, api.operations.conditions(id))))
}

/// What is said of a volume that is not there, or no longer.
pub(super) fn not_found(id: VolumeId) -> ApiError {
    failure(ErrorCode::VolumeNotFound, format!("there is no volume {id}"))
}

async fn create(State(api): State<Api>, command: Command<NewVolume>) -> Result<Accepted, ApiError> {
    let new = command.body.clone();
    validate::name(&new.name)?;
    validate::size(new.size_bytes)?;
    new.source.as_ref().map_or(Ok(()), validate::source)?;
    let request = Request::Create {
        name: new.name,
        size_bytes: new.size_bytes,
        source: new.source,
    };
    api.submit(None, request, command).await
}

async fn adopt(State(api): State<Api>, command: Command<AdoptVolume>) -> Result<Accepted, ApiError> {
    let AdoptVolume {
        provider_volume_id,
        name,
    } = command.body;
    validate::name(&name)?;
    validate::provider_volume_id(&provider_volume_id)?;
    let adoption = Adoption {
        provider_volume_id,
        name,
    };
    let record = api.operations.adopt(adoption, command.asker, command.key).await?;
    api.accepted(record, command.wait).await
}

async fn delete(
    State(api): State<Api>,
    At(id): At<VolumeId>,
    mut command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    let confirm_name = command.confirm_name.take();
    api.submit(Some(id), Request::Delete { confirm_name }, command)
        .await
}

async fn attach(
    State(api): State<Api>,
    At(id): At<VolumeId>,
    command: Command<AttachVolume>,
) -> Result<Accepted, ApiError> {
    let vm_id = command.body.vm_id.clone();
    validate::vm_id(&vm_id)?;
    api.submit(Some(id), Request::Attach { vm_id }, command).await
}

async fn detach(
    State(api): State<Api>,
    At(id): At<VolumeId>,
    command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    api.submit(Some(id), Request::Detach {}, command).await
}

async fn resize(
    State(api): State<Api>,
    At(id): At<VolumeId>,
    command: Command<ResizeVolume>,
) -> Result<Accepted, ApiError> {
    let size_bytes = command.body.size_bytes;
    validate::size(size_bytes)?;
    api.submit(Some(id), Request::Resize { size_bytes }, command)
        .await
}

async fn correlate(
    State(api): State<Api>,
    At(id): At<VolumeId>,
    command: Command<Empty>,
) -> Result<Accepted, ApiError> {
    api.submit(Some(id), Request::Correlate {}, command).await
}

async fn verified_device(
    State(api): State<Api>,
    At(id): At<VolumeId>,
) -> Result<Json<VolumeDevice>, ApiError> {
    let verified = api.operations.device(id).await?;
    Ok(Json(device::verified(verified)))
}
