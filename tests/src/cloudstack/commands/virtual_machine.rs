//! VMs: `listVirtualMachines`, `startVirtualMachine`, `stopVirtualMachine`.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view;
use super::super::vm::VmState;
use super::super::wire::{self, page};
use super::super::work::Work;
use super::{Scope, may_change, started, unknown};
use crate::{Disk, HypervisorError};

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let params = &call.params;
    let mut ids = params.ids("ids")?;
    if let Some(id) = params.id("id")? {
        state.vms.get(&id).ok_or_else(|| unknown(params, "id"))?;
        ids.push(id);
    }
    let scope = Scope::of(call, &state)?;
    let name = params.get("name");
    let wanted = params.get("state");
    let found = state.vms.values().filter(|vm| {
        scope.shows(vm.account)
            && (ids.is_empty() || ids.contains(&vm.id))
            && name.is_none_or(|name| name == vm.name)
            && wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(view::vm_state(vm.state)))
    });
    let shown = found.map(|vm| view::vm(cloud, &state, vm)).collect();
    let (shown, total) = page(params, shown)?;
    Ok(wire::list("virtualmachine", shown, total))
}

/// The VM that a parameter names, provided that the caller may act upon it.
pub(super) fn vm_to_change(state: &State, call: &Call, name: &str) -> Result<Uuid, Refusal> {
    let id = call.params.required_id(name)?;
    let vm = state.vms.get(&id).ok_or_else(|| unknown(&call.params, name))?;
    may_change(state, &call.user, vm.account)?;
    Ok(id)
}

/// Plugs in what the database has attached.
pub(super) fn start(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    change(cloud, call, VmState::Running)
}

/// Everything that is plugged in goes, phantoms too.
pub(super) fn stop(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    change(cloud, call, VmState::Stopped)
}

fn change(cloud: &Arc<Cloud>, call: &Call, next: VmState) -> Result<Value, Refusal> {
    let vm = vm_to_change(&cloud.state(), call, "id")?;
    let job = cloud.submit(call, ("VirtualMachine", vm), move |work| async move {
        let _turn = work.turn(vm).await?;
        if work.commit(|state| Ok(state.vm(vm)?.state))? != next {
            match next {
                VmState::Running => plug_all(&work, vm).await?,
                VmState::Stopped => unplug_all(&work, vm).await?,
            }
        }
        work.commit(|state| {
            state.vm(vm)?.state = next;
            let vm = state.vm(vm)?.clone();
            Ok(json!({"virtualmachine": view::vm(&work.cloud, state, &vm)}))
        })
    })?;
    Ok(started(job))
}

async fn plug_all(work: &Work, vm: Uuid) -> Result<(), Refusal> {
    let (hypervisor, disks) = work.commit(|state| {
        let disks: Vec<_> = state
            .volumes
            .attached_to(vm)
            .filter(|volume| !volume.is_root)
            .filter_map(|volume| {
                let disk = Disk {
                    serial: volume.serial(),
                    image: work.cloud.file(volume.id),
                };
                Some((volume.attachment?.device_id, disk))
            })
            .collect();
        Ok((Arc::clone(&state.vm(vm)?.hypervisor), disks))
    })?;
    for (device_id, disk) in disks {
        hypervisor
            .plug(&disk)
            .await
            .map_err(|error| Refusal::runtime(format!("Unable to start VM {vm}: {error}")))?;
        work.commit(|state| {
            state.vm(vm)?.targets.insert(device_id, disk);
            Ok(())
        })?;
    }
    Ok(())
}

async fn unplug_all(work: &Work, vm: Uuid) -> Result<(), Refusal> {
    let (hypervisor, patience) = work.commit(|state| {
        Ok((
            Arc::clone(&state.vm(vm)?.hypervisor),
            state.settings.detach_patience,
        ))
    })?;
    for disk in hypervisor.plugged().await {
        match hypervisor.unplug(&disk, patience).await {
            Ok(()) | Err(HypervisorError::NotPlugged) => {}
            Err(error) => return Err(Refusal::runtime(format!("Unable to stop VM {vm}: {error}"))),
        }
    }
    work.commit(|state| {
        let vm = state.vm(vm)?;
        vm.targets.clear();
        vm.leaving.clear();
        Ok(())
    })
}
