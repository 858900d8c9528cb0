//! Snapshots of whole VMs, of which only one thing matters here: a VM that has any neither gets nor loses a disk.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::wire::{self, page};
use super::virtual_machine::vm_to_change;
use super::{Scope, started, success, unknown};

pub(super) fn create(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let vm = vm_to_change(&cloud.state(), call, "virtualmachineid")?;
    let id = Uuid::new_v4();
    let job = cloud.submit(call, ("VmSnapshot", id), |work| async move {
        let _turn = work.turn(vm).await?;
        work.commit(|state| {
            state.vm(vm)?.snapshots.insert(id);
            Ok(json!({"vmsnapshot": shown(id, vm)}))
        })
    })?;
    Ok(json!({"id": id, "jobid": job}))
}

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let scope = Scope::of(call, &state)?;
    let of = call.params.id("virtualmachineid")?;
    let vms = state
        .vms
        .values()
        .filter(|vm| scope.shows(vm.account) && of.is_none_or(|of| of == vm.id));
    let all = vms
        .flat_map(|vm| vm.snapshots.iter().map(|id| shown(*id, vm.id)))
        .collect();
    let (page, total) = page(&call.params, all)?;
    Ok(wire::list("vmSnapshot", page, total))
}

pub(super) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let id = call.params.required_id("vmsnapshotid")?;
    let vm = cloud
        .state()
        .vms
        .values()
        .find(|vm| vm.snapshots.contains(&id))
        .map(|vm| vm.id);
    let vm = vm.ok_or_else(|| unknown(&call.params, "vmsnapshotid"))?;
    let job = cloud.submit(call, ("VmSnapshot", id), |work| async move {
        let _turn = work.turn(vm).await?;
        work.commit(|state| {
            state.vm(vm)?.snapshots.remove(&id);
            Ok(success())
        })
    })?;
    Ok(started(job))
}

fn shown(id: Uuid, vm: Uuid) -> Value {
    json!({"id": id, "virtualmachineid": vm, "state": "Ready", "type": "Disk"})
}
