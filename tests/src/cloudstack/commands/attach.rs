//! `attachVolume`: everything is judged inside the job, and the volume says where it is only after success.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::account::User;
use super::super::cloud::{Call, Cloud};
use super::super::fault::{Fault, Moment};
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view::{self, Viewer};
use super::super::vm::{Vm, VmState, data_device_ids, target};
use super::super::volume::{Attachment, Event, Volume, VolumeState};
use super::super::work::Work;
use super::{started, unknown};
use crate::{Disk, HypervisorError};

/// What was asked for.
struct Attach {
    volume: Uuid,
    vm: Uuid,
    device_id: Option<u32>,
    user: User,
    viewer: Viewer,
}

/// What was set aside for it.
struct Place {
    device_id: u32,
    /// Absent where the VM does not run: the database is all there is to change then.
    disk: Option<Disk>,
}

pub(super) fn attach(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let attach = {
        let state = cloud.state();
        let params = &call.params;
        let volume = params.required_id("id")?;
        state.volumes.get(volume).ok_or_else(|| unknown(params, "id"))?;
        let vm = params.required_id("virtualmachineid")?;
        state
            .vms
            .get(&vm)
            .ok_or_else(|| unknown(params, "virtualmachineid"))?;
        let device_id = params
            .number("deviceid")?
            .map(|id| u32::try_from(id).unwrap_or(u32::MAX));
        Attach {
            volume,
            vm,
            device_id,
            user: call.user.clone(),
            viewer: call.viewer(),
        }
    };
    let job = cloud.submit(call, ("Volume", attach.volume), |work| attach.run(work))?;
    Ok(started(job))
}

impl Attach {
    async fn run(self, work: Work) -> Result<Value, Refusal> {
        work.commit(|state| self.validate(state))?;
        let _turn = work.turn(self.vm).await?;
        let place = work.commit(|state| self.reserve(&work, state))?;
        work.pass(Moment::BeforeHypervisor)?;
        let plugged = self.plug(&work, &place).await;
        work.pass(Moment::AfterHypervisor)?;
        work.commit(|state| self.conclude(&work, state, &place, plugged))
    }

    /// What the API's side of the job looks at.
    fn validate(&self, state: &State) -> Result<(), Refusal> {
        let volume = state.volumes.get(self.volume).filter(|volume| !volume.removed);
        let (Some(volume), Some(vm)) = (volume, state.vms.get(&self.vm)) else {
            return Err(Refusal::invalid(
                "Please specify a volume with the valid type: ROOT or DATADISK",
            ));
        };
        self.judge_owners(volume, vm)?;
        judge_volume(volume)?;
        if self.device_id == Some(0) {
            return Err(Refusal::invalid("Vm already has root volume attached to it"));
        }
        judge_vm(state, vm)
    }

    fn judge_owners(&self, volume: &Volume, vm: &Vm) -> Result<(), Refusal> {
        let is_stranger = !self.user.is_admin() && self.user.account != vm.account;
        if volume.account != vm.account || is_stranger {
            return Err(Refusal::denied(format!(
                "Entity Volume {} and entity VM {} belong to different accounts",
                volume.id, vm.id
            )));
        }
        Ok(())
    }

    /// In turn: storage for a fresh volume, a device id that the database has free, and the state.
    fn reserve(&self, work: &Work, state: &mut State) -> Result<Place, Refusal> {
        if let Some(other) = state
            .volumes
            .get(self.volume)
            .and_then(|volume| volume.attachment)
        {
            return Err(Refusal::runtime(format!(
                "volume: {} is already attached to a VM: {}",
                self.volume, other.vm
            )));
        }
        let device_id = self.free_device_id(state)?;
        if state
            .volumes
            .get(self.volume)
            .is_some_and(|volume| volume.state == VolumeState::Allocated)
        {
            let size = state.happen(self.volume, Event::Create)?.size;
            let made = work.cloud.storage.resize(self.volume, size);
            let event = if made.is_ok() {
                Event::Succeeded
            } else {
                Event::Failed
            };
            state.happen(self.volume, event)?;
            made?;
        }
        let volume = state.happen(self.volume, Event::Attach)?.clone();
        let disk = Disk {
            serial: volume.serial(),
            image: work.cloud.file(volume.id),
        };
        let runs = state.vm(self.vm)?.state == VmState::Running;
        Ok(Place {
            device_id,
            disk: runs.then_some(disk),
        })
    }

    fn free_device_id(&self, state: &State) -> Result<u32, Refusal> {
        let attached = state.volumes.attached_to(self.vm);
        let used: BTreeSet<u32> = attached
            .filter_map(|volume| volume.attachment)
            .map(|attachment| attachment.device_id)
            .collect();
        let most = state.settings.most_data_volumes;
        let Some(wanted) = self.device_id else {
            let free = data_device_ids(most).find(|id| !used.contains(id));
            return free
                .ok_or_else(|| Refusal::runtime(format!("All device Ids are used by vm {}", self.vm)));
        };
        if !data_device_ids(most).any(|id| id == wanted) {
            return Err(Refusal::runtime(format!(
                "deviceId should be 0,1,2,4-{}",
                most + 1
            )));
        }
        if used.contains(&wanted) {
            return Err(Refusal::runtime(format!(
                "deviceId {wanted} is used by vm {}",
                self.vm
            )));
        }
        Ok(wanted)
    }

    /// Asks the hypervisor. What it has plugged in counts, whatever the database says of it.
    async fn plug(&self, work: &Work, place: &Place) -> Result<(), String> {
        let Some(disk) = &place.disk else { return Ok(()) };
        let known = work.commit(|state| {
            let vm = state.vm(self.vm)?;
            Ok((Arc::clone(&vm.hypervisor), Arc::clone(&vm.host)))
        });
        let (hypervisor, host) = known.map_err(|refusal| refusal.text)?;
        let _host = host.lock().await;
        let plugged = hypervisor.plugged().await;
        let name = target(place.device_id);
        let taken = work.commit(|state| {
            let vm = state.vm(self.vm)?;
            vm.see(&plugged);
            Ok(vm.targets.contains_key(&place.device_id))
        });
        if taken.map_err(|refusal| refusal.text)? || plugged.iter().any(|other| other.image == disk.image) {
            return Err(format!("operation failed: target {name} already exists"));
        }
        self.spoil_size(work).map_err(|refusal| refusal.text)?;
        hypervisor.plug(disk).await.map_err(|error| match error {
            HypervisorError::NotPlugged => format!("operation failed: target {name} already exists"),
            other => other.to_string(),
        })?;
        // The host knows its targets, whether or not the management server lives to hear of it.
        if let Ok(vm) = work.cloud.state().vm(self.vm) {
            vm.targets.insert(place.device_id, disk.clone());
        }
        Ok(())
    }

    fn spoil_size(&self, work: &Work) -> Result<(), Refusal> {
        let spoilt = work.faults.find(|fault| match fault {
            Fault::WrongSize(bytes) => Some(*bytes),
            _ => None,
        });
        let Some(bytes) = spoilt else { return Ok(()) };
        let size = work.commit(|state| Ok(state.volumes.known(self.volume)?.size))?;
        work.cloud
            .storage
            .resize(self.volume, size.saturating_add_signed(bytes))
    }

    fn conclude(
        &self,
        work: &Work,
        state: &mut State,
        place: &Place,
        plugged: Result<(), String>,
    ) -> Result<Value, Refusal> {
        if let Err(why) = plugged {
            let volume = state.happen(self.volume, Event::Failed)?.name.clone();
            let vm = &state.vm(self.vm)?.name;
            return Err(Refusal::runtime(format!(
                "Failed to attach volume {volume} to VM {vm}; org.libvirt.LibvirtException: {why}"
            )));
        }
        let volume = state.happen(self.volume, Event::Succeeded)?;
        let since = work.cloud.clock.now();
        volume.attachment = Some(Attachment {
            vm: self.vm,
            device_id: place.device_id,
            since,
        });
        let volume = volume.clone();
        Ok(json!({"volume": view::volume(&work.cloud, state, &volume, self.viewer)}))
    }
}

fn judge_volume(volume: &Volume) -> Result<(), Refusal> {
    if volume.attachment.is_some() {
        return Err(Refusal::invalid(
            "Please specify a volume that is not attached to any VM.",
        ));
    }
    match volume.state {
        VolumeState::Allocated | VolumeState::Ready => Ok(()),
        VolumeState::Destroy => Err(Refusal::invalid("Please specify a volume that is not destroyed.")),
        _ => Err(Refusal::invalid(
            "Volume state must be in Allocated, Ready or in Uploaded state",
        )),
    }
}

fn judge_vm(state: &State, vm: &Vm) -> Result<(), Refusal> {
    let most = state.settings.most_data_volumes;
    let attached = state
        .volumes
        .attached_to(vm.id)
        .filter(|volume| !volume.is_root)
        .count();
    if attached >= most as usize {
        return Err(Refusal::invalid(format!(
            "The specified VM already has the maximum number of data disks ({most}) attached. \
             Please specify another VM."
        )));
    }
    if !vm.snapshots.is_empty() {
        return Err(Refusal::invalid(
            "Unable to attach volume, please specify a VM that does not have VM snapshots",
        ));
    }
    Ok(())
}
