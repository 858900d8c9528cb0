//! Devices of this machine, and the mappings of volumes to them.

use std::collections::HashMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use volume_client::types::{Device, Mapping, Page};

use super::convert::device;
use super::problem::ApiError;
use super::{Api, page};
use crate::store::{attachments, mappings};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/devices", get(list))
        .route("/mappings", get(list_mappings))
}

async fn list(State(api): State<Api>) -> Result<Json<Page<Device>>, ApiError> {
    let devices = api.operations.devices().await?;
    Ok(Json(page::whole(devices.into_iter().map(device::view).collect())))
}

async fn list_mappings(State(api): State<Api>) -> Result<Json<Page<Mapping>>, ApiError> {
    let read = api
        .store
        .read(|conn| Ok((mappings::all_live(conn)?, attachments::all_live(conn)?)));
    let (mappings, attachments) = read.await?;
    let vms: HashMap<_, _> = attachments.into_iter().map(|a| (a.id, a.vm_id)).collect();
    let view = |record: mappings::MappingRecord| {
        let vm = vms.get(&record.attachment_id).cloned().unwrap_or_default();
        let pinned = api.operations.is_pinned(record.volume_id);
        device::mapping(record, vm, pinned)
    };
    Ok(Json(page::whole(mappings.into_iter().map(view).collect())))
}
