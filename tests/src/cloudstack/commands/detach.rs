//! `detachVolume`: no state of its own; the attachment stands until the hypervisor has let go, and is then cleared by
//! the volume's id only, whatever VM the row points to by then (#14214).

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::cloud::{Call, Cloud};
use super::super::fault::{Fault, Hold, Moment};
use super::super::refusal::Refusal;
use super::super::state::State;
use super::super::view::{self, Viewer};
use super::super::vm::VmState;
use super::super::work::Work;
use super::{may_change, started, unknown};
use crate::{Disk, Hypervisor, HypervisorError};

/// What was asked for.
struct Detach {
    call: Call,
    viewer: Viewer,
    /// The volume as far as the call names it: for the job's record.
    named: Option<Uuid>,
}

/// A disk and the VM to take it from, as they were when the job was judged.
#[derive(Clone)]
struct Disposal {
    volume: Uuid,
    vm: Uuid,
    disk: Disk,
}

pub(super) fn detach(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let named = {
        let state = cloud.state();
        let named = call.params.id("id")?;
        if let Some(id) = named {
            let volume = state.volumes.get(id).ok_or_else(|| unknown(&call.params, "id"))?;
            may_change(&state, &call.user, volume.account)?;
        }
        if call
            .params
            .id("virtualmachineid")?
            .is_some_and(|vm| !state.vms.contains_key(&vm))
        {
            return Err(unknown(&call.params, "virtualmachineid"));
        }
        named.or_else(|| by_device_id(&state, call))
    };
    let detach = Detach {
        call: call.clone(),
        viewer: call.viewer(),
        named,
    };
    let job = cloud.submit(call, ("Volume", named.unwrap_or_default()), |work| {
        detach.run(work)
    })?;
    Ok(started(job))
}

/// The volume at a device id of a VM.
fn by_device_id(state: &State, call: &Call) -> Option<Uuid> {
    let vm = call.params.id("virtualmachineid").ok()??;
    let device_id = call.params.number("deviceid").ok()??;
    let mut attached = state.volumes.attached_to(vm);
    let found = attached.find(|volume| {
        volume
            .attachment
            .is_some_and(|at| u64::from(at.device_id) == device_id)
    });
    found.map(|volume| volume.id)
}

impl Detach {
    async fn run(self, work: Work) -> Result<Value, Refusal> {
        let disposal = work.commit(|state| self.validate(&work.cloud, state))?;
        let _turn = work.turn(disposal.vm).await?;
        work.pass(Moment::BeforeHypervisor)?;
        disposal.unplug(&work).await?;
        work.pass(Moment::AfterHypervisor)?;
        let body = work.commit(|state| {
            let volume = state.volumes.edit(disposal.volume)?;
            volume.attachment = None;
            let volume = volume.clone();
            Ok(json!({"volume": view::volume(&work.cloud, state, &volume, self.viewer)}))
        })?;
        disposal.leave_straggler(&work);
        Ok(body)
    }

    fn validate(&self, cloud: &Cloud, state: &State) -> Result<Disposal, Refusal> {
        let params = &self.call.params;
        let by_slot = params.get("deviceid").is_some() && params.get("virtualmachineid").is_some();
        let by_half = params.get("deviceid").is_some() || params.get("virtualmachineid").is_some();
        if params.get("id").is_some() == by_slot || (params.get("id").is_some() && by_half) {
            return Err(Refusal::invalid(
                "Please provide either a volume id, or a tuple(device id, instance id)",
            ));
        }
        let volume = self
            .named
            .and_then(|id| state.volumes.get(id))
            .filter(|volume| !volume.removed);
        let volume = volume.ok_or_else(|| Refusal::invalid("Unable to find volume with ID"))?;
        let Some(attachment) = volume.attachment else {
            return Err(Refusal::invalid("The specified volume is not attached to a VM."));
        };
        if volume.is_root {
            return Err(Refusal::invalid(
                "Please specify a VM that is stopped to detach its ROOT volume",
            ));
        }
        if state
            .vms
            .get(&attachment.vm)
            .is_some_and(|vm| !vm.snapshots.is_empty())
        {
            return Err(Refusal::invalid(
                "Unable to detach volume, please specify a VM that does not have VM snapshots",
            ));
        }
        let disk = Disk {
            serial: volume.serial(),
            image: cloud.file(volume.id),
        };
        Ok(Disposal {
            volume: volume.id,
            vm: attachment.vm,
            disk,
        })
    }
}

impl Disposal {
    /// Takes the disk from the VM. One that is not there is gone: a success.
    async fn unplug(&self, work: &Work) -> Result<(), Refusal> {
        let known = work.commit(|state| {
            let patience = state.settings.detach_patience;
            let vm = state.vm(self.vm)?;
            let runs = vm.state == VmState::Running;
            Ok(runs.then(|| (Arc::clone(&vm.hypervisor), Arc::clone(&vm.host), patience)))
        })?;
        let Some((hypervisor, host, patience)) = known else {
            return Ok(());
        };
        let _host = host.lock().await;
        let plugged = hypervisor.plugged().await;
        work.commit(|state| {
            let pends = state.settings.unplug_pends;
            let vm = state.vm(self.vm)?;
            vm.see(&plugged);
            vm.leaving.retain(|(_, since)| since.elapsed() < pends);
            refuse_second_unplug(&vm.leaving, &self.disk)
        })?;
        if let Some(hold) = late(work) {
            self.let_go_later(work, hypervisor, hold);
            return Err(timed_out(patience));
        }
        match hypervisor.unplug(&self.disk, patience).await {
            Ok(()) | Err(HypervisorError::NotPlugged) => Ok(()),
            Err(HypervisorError::TimedOut(waited)) => {
                self.mark_leaving(work);
                Err(timed_out(waited))
            }
            Err(HypervisorError::Refused(why)) => Err(Refusal::runtime(format!(
                "Failed to detach volume {}; org.libvirt.LibvirtException: {why}",
                self.volume
            ))),
        }
    }

    fn mark_leaving(&self, work: &Work) {
        if let Ok(vm) = work.cloud.state().vm(self.vm) {
            vm.leaving.push((self.disk.clone(), Instant::now()));
        }
    }

    /// The guest lets go after the hold, when the job has failed long since.
    fn let_go_later(&self, work: &Work, hypervisor: Arc<dyn Hypervisor>, hold: Hold) {
        self.mark_leaving(work);
        let (disk, patience) = (self.disk.clone(), work.cloud.state().settings.detach_patience);
        tokio::spawn(async move {
            hold.wait().await;
            // Whoever waits for the guest sees what is plugged in.
            let _ = hypervisor.unplug(&disk, patience).await;
        });
    }

    /// The second detach that stood in the queue behind this one.
    fn leave_straggler(&self, work: &Work) {
        let straggling = work.faults.find(|fault| match fault {
            Fault::StragglingDetach(hold) => Some(hold.clone()),
            _ => None,
        });
        let Some(hold) = straggling else { return };
        let straggler = Work {
            faults: Default::default(),
            ..work.clone()
        };
        let disposal = self.clone();
        tokio::spawn(async move {
            hold.wait().await;
            let Ok(_turn) = straggler.turn(disposal.vm).await else {
                return;
            };
            if disposal.unplug(&straggler).await.is_ok() {
                // Nobody waits for it; what it did is seen in the row.
                let _ = straggler.commit(|state| {
                    state.volumes.edit(disposal.volume)?.attachment = None;
                    Ok(())
                });
            }
        });
    }
}

fn late(work: &Work) -> Option<Hold> {
    work.faults.find(|fault| match fault {
        Fault::LateDetach(hold) => Some(hold.clone()),
        _ => None,
    })
}

fn refuse_second_unplug(leaving: &[(Disk, Instant)], disk: &Disk) -> Result<(), Refusal> {
    let Some(place) = leaving.iter().position(|(other, _)| other == disk) else {
        return Ok(());
    };
    Err(Refusal::runtime(format!(
        "internal error: unable to execute QEMU command 'device_del': Device virtio-disk{} is already in the process \
         of unplug",
        place + 1
    )))
}

fn timed_out(patience: std::time::Duration) -> Refusal {
    Refusal::runtime(format!(
        "Could not detach volume after sending the command and waiting for [{}] milliseconds. Probably the VM does not \
         support the sent detach command or the device is busy at the moment. Try again in a couple of minutes.",
        patience.as_millis()
    ))
}
