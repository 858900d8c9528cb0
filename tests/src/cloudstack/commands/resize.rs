//! `resizeVolume`: of a volume without storage only a row; of an attached one in its VM's queue.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::fault::Moment;
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view;
use super::super::volume::{Event, GIB, VolumeState};
use super::super::work::Work;
use super::capability::{LARGEST, SMALLEST};
use super::{started, volume_to_change};
use crate::Disk;

pub(super) fn resize(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let id = volume_to_change(&cloud.state(), call, "id")?;
    let of_job = call.clone();
    let job = cloud.submit(call, ("Volume", id), |work| run(work, of_job, id))?;
    Ok(started(job))
}

async fn run(work: Work, call: Call, id: Uuid) -> Result<Value, Refusal> {
    work.commit(|state| wanted_size(state, &call, id).map(drop))?;
    let vm = work.commit(|state| {
        Ok(state
            .volumes
            .known(id)?
            .attachment
            .map(|attachment| attachment.vm))
    })?;
    let _turn = match vm {
        Some(vm) => work.turn(vm).await?,
        None => work.at_once().await?,
    };
    let size = work.commit(|state| {
        let size = wanted_size(state, &call, id)?;
        if state.volumes.known(id)?.state != VolumeState::Allocated {
            state.happen(id, Event::Resize)?;
        }
        Ok(size)
    })?;
    work.pass(Moment::BeforeHypervisor)?;
    let grown = grow(&work, id, size, vm).await;
    work.pass(Moment::AfterHypervisor)?;
    work.commit(|state| {
        let event = if grown.is_ok() {
            Event::Succeeded
        } else {
            Event::Failed
        };
        if state.volumes.known(id)?.state != VolumeState::Allocated {
            state.happen(id, event)?;
        }
        grown?;
        let volume = state.volumes.edit(id)?;
        volume.size = size;
        let volume = volume.clone();
        Ok(json!({"volume": view::volume(&work.cloud, state, &volume, call.viewer())}))
    })
}

/// The size in bytes, where the volume may have it.
fn wanted_size(state: &State, call: &Call, id: Uuid) -> Result<u64, Refusal> {
    let volume = state.volumes.get(id).filter(|volume| !volume.removed);
    let volume = volume.ok_or_else(|| Refusal::invalid("No such volume"))?;
    if !matches!(volume.state, VolumeState::Ready | VolumeState::Allocated) {
        return Err(Refusal::invalid(
            "Volume should be in ready or allocated state before attempting a resize.",
        ));
    }
    let Some(gib) = call.params.number("size")? else {
        return Err(Refusal::invalid(
            "The size of the volume is needed where its offering has none",
        ));
    };
    if !(SMALLEST..=LARGEST).contains(&gib) {
        return Err(Refusal::invalid(format!(
            "Volume size: {gib}GB is out of allowed range. Max: {LARGEST} Min:{SMALLEST}"
        )));
    }
    let size = gib * GIB;
    if size >= volume.size {
        return Ok(size);
    }
    if !call.params.is_true("shrinkok") {
        return Err(Refusal::invalid(format!(
            "Going from existing size of {} to size of {size} would shrink the volume. \
             Need to sign off by supplying the shrinkok parameter with value of true.",
            volume.size
        )));
    }
    Err(Refusal::invalid("Unable to shrink volumes of type QCOW2"))
}

async fn grow(work: &Work, id: Uuid, size: u64, vm: Option<Uuid>) -> Result<(), Refusal> {
    let volume = work.commit(|state| Ok(state.volumes.known(id)?.clone()))?;
    if volume.state == VolumeState::Allocated {
        return Ok(());
    }
    work.cloud.storage.resize(id, size)?;
    let Some(vm) = vm else { return Ok(()) };
    let disk = Disk {
        serial: volume.serial(),
        image: work.cloud.file(id),
    };
    let hypervisor = work.commit(|state| Ok(Arc::clone(&state.vm(vm)?.hypervisor)))?;
    if !hypervisor.plugged().await.contains(&disk) {
        return Ok(());
    }
    hypervisor
        .grown(&disk)
        .await
        .map_err(|error| Refusal::runtime(format!("Failed to resize volume {id}: {error}")))
}
