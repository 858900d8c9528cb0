//! Snapshots of volumes: `createSnapshot`, `listSnapshots`, `deleteSnapshot`, `revertSnapshot`.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::state::{Snapshot, State};
use super::super::view;
use super::super::vm::VmState;
use super::super::volume::{Event, VolumeState};
use super::super::wire::{self, page};
use super::super::work::{Turn, Work};
use super::{Scope, may_change, started, success, unknown, volume_to_change};

pub(super) fn create(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (id, volume) = {
        let mut state = cloud.state();
        let volume = volume_to_change(&state, call, "volumeid")?;
        let of = state.volumes.known(volume)?.clone();
        if of.removed || of.state != VolumeState::Ready {
            return Err(Refusal::invalid(format!(
                "VolumeId: {volume} is not in Ready state but {}. Cannot take snapshot.",
                of.state
            )));
        }
        let id = Uuid::new_v4();
        let snapshot = Snapshot {
            id,
            name: call
                .params
                .get("name")
                .map_or_else(|| format!("{}_{id}", of.name), str::to_owned),
            volume,
            account: of.account,
            size: of.size,
            // As a volume's row, it is there before the job id is judged.
            state: "Allocated",
            created: cloud.clock.now(),
            tags: [].into(),
            removed: false,
        };
        state.snapshots.insert(id, snapshot);
        (id, volume)
    };
    let job = cloud.submit(call, ("Snapshot", id), |work| async move {
        let taken = take(&work, id, volume).await;
        work.commit(|state| {
            let snapshot = snapshot_to_change(state, id)?;
            snapshot.state = if taken.is_ok() { "BackedUp" } else { "Error" };
            let snapshot = snapshot.clone();
            taken?;
            Ok(json!({"snapshot": view::snapshot(&work.cloud, state, &snapshot)}))
        })
    })?;
    Ok(json!({"id": id, "jobid": job}))
}

async fn take(work: &Work, id: Uuid, volume: Uuid) -> Result<(), Refusal> {
    let _turn = turn_of(work, volume).await?;
    let size = work.commit(|state| {
        snapshot_to_change(state, id)?.state = "Creating";
        Ok(state.happen(volume, Event::Snapshot)?.size)
    })?;
    let copied = work.cloud.storage.copy(volume, id).await;
    work.commit(|state| {
        let event = if copied.is_ok() {
            Event::Succeeded
        } else {
            Event::Failed
        };
        state.happen(volume, event)?;
        snapshot_to_change(state, id)?.size = size;
        Ok(())
    })?;
    copied
}

/// A turn in the queue of the VM that has the volume, where one has.
async fn turn_of(work: &Work, volume: Uuid) -> Result<Turn, Refusal> {
    let vm = work.commit(|state| {
        Ok(state
            .volumes
            .known(volume)?
            .attachment
            .map(|attachment| attachment.vm))
    })?;
    match vm {
        Some(vm) => work.turn(vm).await,
        None => work.at_once().await,
    }
}

fn snapshot_to_change(state: &mut State, id: Uuid) -> Result<&mut Snapshot, Refusal> {
    let snapshot = state.snapshots.get_mut(&id).filter(|snapshot| !snapshot.removed);
    snapshot.ok_or_else(|| Refusal::invalid(format!("unable to find a snapshot with id {id}")))
}

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let params = &call.params;
    let mut ids = params.ids("ids")?;
    if let Some(id) = params.id("id")? {
        state.snapshots.get(&id).ok_or_else(|| unknown(params, "id"))?;
        ids.push(id);
    }
    let volume = params.id("volumeid")?;
    if volume.is_some_and(|volume| state.volumes.get(volume).is_none()) {
        return Err(unknown(params, "volumeid"));
    }
    let scope = Scope::of(call, &state)?;
    let (name, keyword) = (params.get("name"), params.get("keyword"));
    let found = state.snapshots.values().filter(|snapshot| {
        !snapshot.removed
            && scope.shows(snapshot.account)
            && (ids.is_empty() || ids.contains(&snapshot.id))
            && volume.is_none_or(|volume| volume == snapshot.volume)
            && name.is_none_or(|name| name == snapshot.name)
            && keyword.is_none_or(|word| snapshot.name.contains(word))
    });
    let shown = found
        .map(|snapshot| view::snapshot(cloud, &state, snapshot))
        .collect();
    let (shown, total) = page(params, shown)?;
    Ok(wire::list("snapshot", shown, total))
}

/// The snapshot that the call names, provided that the caller may act upon it.
fn named(cloud: &Cloud, call: &Call) -> Result<(Uuid, Uuid), Refusal> {
    let state = cloud.state();
    let id = call.params.required_id("id")?;
    let snapshot = state
        .snapshots
        .get(&id)
        .ok_or_else(|| unknown(&call.params, "id"))?;
    may_change(&state, &call.user, snapshot.account)?;
    Ok((id, snapshot.volume))
}

pub(super) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (id, _) = named(cloud, call)?;
    let job = cloud.submit(call, ("Snapshot", id), |work| async move {
        let _turn = work.at_once().await?;
        work.commit(|state| {
            let snapshot = snapshot_to_change(state, id)?;
            if snapshot.state == "Creating" {
                return Err(Refusal::invalid(format!(
                    "Can't delete snapshotshot {id} due to it is in Creating Status"
                )));
            }
            work.cloud.storage.remove(id)?;
            snapshot.removed = true;
            Ok(success())
        })
    })?;
    Ok(started(job))
}

/// Content and size become what they were. Not while a running VM has the volume.
pub(super) fn revert(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let (id, volume) = named(cloud, call)?;
    let job = cloud.submit(call, ("Snapshot", id), |work| async move {
        let _turn = turn_of(&work, volume).await?;
        let size = work.commit(|state| {
            let size = snapshot_to_change(state, id)?.size;
            let attachment = state.volumes.known(volume)?.attachment;
            let vm = attachment.and_then(|attachment| state.vms.get(&attachment.vm));
            if vm.is_some_and(|vm| vm.state == VmState::Running) {
                return Err(Refusal::invalid(
                    "The VM the specified disk is attached to is not in the shutdown state.",
                ));
            }
            state.happen(volume, Event::Revert)?;
            Ok(size)
        })?;
        let copied = work.cloud.storage.copy(id, volume).await;
        work.commit(|state| {
            let event = if copied.is_ok() {
                Event::Succeeded
            } else {
                Event::Failed
            };
            let volume = state.happen(volume, event)?;
            copied?;
            volume.size = size;
            Ok(success())
        })
    })?;
    Ok(started(job))
}
