//! The life of a volume: `createVolume`, `deleteVolume`, `destroyVolume`, `recoverVolume`, `updateVolume`.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud, watch_for_living_job};
use super::super::fault::{Fault, Stuck};
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view;
use super::super::volume::{Event, GIB, Volume, VolumeState};
use super::capability::{LARGEST, SMALLEST};
use super::offering::FIXED_SIZE;
use super::{may_change, started, success, unknown, volume_to_change};

/// The row is made before the job id is judged: a repeated call leaves a volume more.
pub(super) fn create(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (id, snapshot) = allocate(cloud, call)?;
    let viewer = call.viewer();
    let cloud_of_job = Arc::clone(cloud);
    let job = cloud.submit(call, ("Volume", id), move |work| async move {
        let cloud = cloud_of_job;
        let _turn = work.at_once().await?;
        if let Some(snapshot) = snapshot {
            work.commit(|state| state.happen(id, Event::Create).map(drop))?;
            let copied = cloud.storage.copy(snapshot, id).await;
            let event = if copied.is_ok() {
                Event::Succeeded
            } else {
                Event::Failed
            };
            work.commit(|state| state.happen(id, event).map(drop))?;
            copied?;
        }
        work.commit(|state| {
            let volume = state.volumes.known(id)?.clone();
            Ok(json!({"volume": view::volume(&cloud, state, &volume, viewer)}))
        })
    })?;
    Ok(json!({"id": id, "jobid": job}))
}

/// Makes the row, and says which snapshot fills the volume.
fn allocate(cloud: &Cloud, call: &Call) -> Result<(Uuid, Option<Uuid>), Refusal> {
    let params = &call.params;
    let mut state = cloud.state();
    let snapshot = params.id("snapshotid")?;
    let offering = params
        .id("diskofferingid")?
        .unwrap_or(cloud.places.custom_offering);
    let size = match snapshot {
        Some(id) => {
            let snapshot = state.snapshots.get(&id).filter(|snapshot| !snapshot.removed);
            let snapshot = snapshot.ok_or_else(|| unknown(params, "snapshotid"))?;
            may_change(&state, &call.user, snapshot.account)?;
            snapshot.size
        }
        None => offered_size(cloud, call)?,
    };
    if snapshot.is_none() && params.required_id("zoneid")? != cloud.places.zone {
        return Err(unknown(params, "zoneid"));
    }
    let id = custom_id(&state, call)?.unwrap_or_else(Uuid::new_v4);
    let account = owner(&state, call)?;
    state.volumes.insert(Volume {
        id,
        name: params
            .get("name")
            .map_or_else(|| format!("DATA-{id}"), str::to_owned),
        account,
        is_root: false,
        state: VolumeState::Allocated,
        offering: Some(offering),
        size,
        attachment: None,
        created: cloud.clock.now(),
        tags: [].into(),
        removed: false,
    });
    Ok((id, snapshot))
}

/// The size in bytes that the offering gives, or leaves to the caller in whole GiB.
fn offered_size(cloud: &Cloud, call: &Call) -> Result<u64, Refusal> {
    let offering = call.params.required_id("diskofferingid")?;
    if offering == cloud.places.fixed_offering {
        return Ok(FIXED_SIZE * GIB);
    }
    if offering != cloud.places.custom_offering {
        return Err(unknown(&call.params, "diskofferingid"));
    }
    let Some(size) = call.params.number("size")? else {
        return Err(Refusal::invalid(
            "This disk offering requires a custom size specified",
        ));
    };
    if !(SMALLEST..=LARGEST).contains(&size) {
        return Err(Refusal::invalid(format!(
            "Volume size: {size}GB is out of allowed range. Max: {LARGEST} Min:{SMALLEST}"
        )));
    }
    Ok(size * GIB)
}

/// The caller's account, or the project's; refused where that has its fill of volumes.
fn owner(state: &State, call: &Call) -> Result<Uuid, Refusal> {
    let account = match call.params.id("projectid")? {
        Some(project) => state
            .project(project)
            .ok_or_else(|| unknown(&call.params, "projectid"))?,
        None => state
            .account(call.user.account)
            .ok_or_else(Refusal::unauthorised)?,
    };
    let held = state
        .volumes
        .all()
        .filter(|volume| volume.account == account.id && !volume.removed)
        .count();
    match state.settings.most_volumes {
        Some(most) if held >= most => Err(Refusal::quota(format!(
            "Maximum amount of resources of Type = 'volume' for Account Name = {} has been exceeded. \
             Account Resource Limit = {most}",
            account.name
        ))),
        _ => Ok(account.id),
    }
}

/// `customid`, which only root administrators may give.
fn custom_id(state: &State, call: &Call) -> Result<Option<Uuid>, Refusal> {
    let Some(id) = call.params.id("customid")? else {
        return Ok(None);
    };
    if !call.user.is_admin() {
        return Err(Refusal::denied("Only Root Admins are allowed to use custom ids"));
    }
    match state.volumes.get(id) {
        None => Ok(Some(id)),
        Some(_) => Err(Refusal::invalid(format!(
            "UUID: {id} already exists so can't create/update with custom id"
        ))),
    }
}

pub(super) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let mut state = cloud.state();
    let id = volume_to_change(&state, call, "id")?;
    watch_for_living_job(&mut state, call, id);
    refuse_while_used(&state, id)?;
    remove(cloud, &mut state, call, id)?;
    Ok(success())
}

pub(super) fn destroy(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let id = volume_to_change(&cloud.state(), call, "id")?;
    let (cloud_of_job, call_of_job) = (Arc::clone(cloud), call.clone());
    let job = cloud.submit(call, ("Volume", id), move |work| async move {
        let (cloud, call) = (cloud_of_job, call_of_job);
        let _turn = work.at_once().await?;
        work.commit(|state| {
            refuse_while_used(state, id)?;
            if call.params.is_true("expunge") {
                remove(&cloud, state, &call, id)?;
            } else if state.volumes.known(id)?.state == VolumeState::Allocated {
                return Err(Refusal::invalid("The Allocated volume can only be expunged"));
            } else {
                state.happen(id, Event::Destroy)?;
            }
            let volume = state.volumes.known(id)?.clone();
            Ok(json!({"volume": view::volume(&cloud, state, &volume, call.viewer())}))
        })
    })?;
    Ok(started(job))
}

fn refuse_while_used(state: &State, id: Uuid) -> Result<(), Refusal> {
    let volume = state.volumes.get(id).filter(|volume| !volume.removed);
    let Some(volume) = volume else {
        return Err(Refusal::invalid(format!("Unable to find volume with ID: {id}")));
    };
    if volume.attachment.is_some() {
        return Err(Refusal::invalid(
            "Please specify a volume that is not attached to any VM.",
        ));
    }
    let is_read = state
        .snapshots
        .values()
        .any(|snapshot| snapshot.volume == id && snapshot.state == "Creating");
    if is_read {
        return Err(Refusal::invalid(
            "There are snapshot operations in progress on the volume, unable to delete it",
        ));
    }
    Ok(())
}

/// Destroys and expunges. What cannot be deleted stays where it stuck, and the caller has an error.
fn remove(cloud: &Cloud, state: &mut State, call: &Call, id: Uuid) -> Result<(), Refusal> {
    let stuck = call.faults.find(|fault| match fault {
        Fault::StickyDelete(stuck) => Some(*stuck),
        _ => None,
    });
    if state.volumes.known(id)?.state != VolumeState::Destroy {
        state.happen(id, Event::Destroy)?;
    }
    if stuck == Some(Stuck::Destroy) {
        return Err(Refusal::runtime(format!(
            "Failed to expunge volume {id}: the storage did not answer"
        )));
    }
    state.happen(id, Event::Expunge)?;
    if stuck == Some(Stuck::Expunging) {
        return Err(Refusal::runtime(format!(
            "Failed to delete volume {id} on the primary storage"
        )));
    }
    if let Err(refusal) = cloud.storage.remove(id) {
        state.happen(id, Event::Failed)?;
        return Err(refusal);
    }
    state.happen(id, Event::Succeeded)?.removed = true;
    Ok(())
}

pub(super) fn recover(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let mut state = cloud.state();
    let id = volume_to_change(&state, call, "id")?;
    if state.volumes.known(id)?.state != VolumeState::Destroy {
        return Err(Refusal::invalid("Please specify a volume in Destroy state."));
    }
    let volume = state.happen(id, Event::Recover)?.clone();
    Ok(json!({"volume": view::volume(cloud, &state, &volume, call.viewer())}))
}

/// Users may give another name; everything else is an administrator's.
pub(super) fn update(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let id = volume_to_change(&cloud.state(), call, "id")?;
    let (cloud_of_job, call_of_job) = (Arc::clone(cloud), call.clone());
    let job = cloud.submit(call, ("Volume", id), move |work| async move {
        let (cloud, call) = (cloud_of_job, call_of_job);
        let _turn = work.at_once().await?;
        work.commit(|state| {
            let volume = state.volumes.edit(id)?;
            if let Some(name) = call.params.get("name") {
                name.clone_into(&mut volume.name);
            }
            let volume = volume.clone();
            Ok(json!({"volume": view::volume(&cloud, state, &volume, call.viewer())}))
        })
    })?;
    Ok(started(job))
}
