//! What the jobs of the simulated cloud do to its volumes and to the disks of this machine.

use std::time::Duration;

use volumed::cloud::ProviderSnapshot;
use volumed::model::Bytes;

use crate::cloud_state::{Fault, Job, OWN_VM, Order, Refusal, SimVolume};
use crate::kernel::{Content, NewDisk};
use crate::world::{Due, State};

impl State {
    pub(crate) fn carry_out(&mut self, job: &Job) -> Result<(), Refusal> {
        let name = job.volume.as_str();
        if let Order::Create(size) = job.order {
            return self.make(name, size);
        }
        let gone_is_fine = matches!(job.order, Order::Delete | Order::DropSnapshot(_));
        let Some(volume) = self.cloud.volumes.get_mut(name) else {
            return if gone_is_fine {
                Ok(())
            } else {
                Err(Refusal::NotFound)
            };
        };
        match &job.order {
            Order::Create(_) => {}
            Order::Attach(vm) => return self.attach(name, vm, job.fault),
            Order::Detach(vm) => return self.detach(name, vm, job.fault),
            Order::Resize(size) if *size < volume.size => return Err(Refusal::Refused),
            Order::Resize(size) => {
                volume.size = *size;
                self.grow(name, *size);
            }
            Order::Delete => {
                if volume.attached.is_some() || !volume.snapshots.is_empty() {
                    return Err(Refusal::Conflict);
                }
                self.cloud.volumes.remove(name);
            }
            Order::TakeSnapshot(snapshot) => {
                let (size, ready) = (volume.size, true);
                if !volume.snapshots.iter().any(|s| s.name == *snapshot) {
                    volume.snapshots.push(ProviderSnapshot {
                        snapshot_ref: format!("snap-{snapshot}"),
                        name: snapshot.clone(),
                        size,
                        ready,
                    });
                }
            }
            Order::Revert(snapshot) => {
                if volume.attached.is_some() {
                    return Err(Refusal::Conflict);
                }
                let found = volume.snapshots.iter().find(|s| s.snapshot_ref == *snapshot);
                volume.size = found.ok_or(Refusal::NotFound)?.size;
            }
            Order::DropSnapshot(snapshot) => volume.snapshots.retain(|s| s.snapshot_ref != *snapshot),
        }
        if job.fault == Some(Fault::FailedButDone) {
            return Err(Refusal::Unknown);
        }
        Ok(())
    }

    fn make(&mut self, name: &str, size: Bytes) -> Result<(), Refusal> {
        self.cloud.made += 1;
        let made = self.cloud.made;
        let now = self.elapsed();
        self.cloud.volumes.entry(name.to_owned()).or_insert(SimVolume {
            reference: format!("ref-{made}"),
            size,
            serial: format!("{made:020x}"),
            attached: None,
            mark: 0,
            busy: None,
            worked_on: None,
            snapshots: Vec::new(),
            changed: now,
            before: None,
        });
        Ok(())
    }

    fn attach(&mut self, name: &str, vm: &str, fault: Option<Fault>) -> Result<(), Refusal> {
        match self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref()) {
            Some(attached) if attached == vm => return Ok(()),
            Some(_) => return Err(Refusal::Elsewhere),
            None if self.kernel.of_volume(name).is_some() => return Err(Refusal::Conflict),
            None => {}
        }
        if fault == Some(Fault::Phantom) {
            self.plug_volume(name);
            return Err(Refusal::Unknown);
        }
        self.set_attached(name, Some(vm));
        match fault {
            Some(Fault::LateDisk) => {
                let late = self.chance.millis(500, 9000);
                self.plan(late, Due::Plug(name.to_owned()));
            }
            _ => self.plug_volume(name),
        }
        match fault {
            Some(Fault::FailedButDone) => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    fn detach(&mut self, name: &str, vm: &str, fault: Option<Fault>) -> Result<(), Refusal> {
        match self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref()) {
            None => return Ok(()),
            Some(attached) if attached != vm => return Err(Refusal::Elsewhere),
            Some(_) => {}
        }
        if fault == Some(Fault::LateUnplug) {
            let late = self.chance.millis(1000, 20_000);
            self.unplug_volume(name, late);
            return Err(Refusal::Unknown);
        }
        self.set_attached(name, None);
        self.unplug_volume(name, Duration::ZERO);
        match fault {
            Some(Fault::FailedButDone) => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    /// Plugs the volume's disk in, unless it is: whoever wanted it may have changed his mind meanwhile.
    pub(crate) fn plug_volume(&mut self, name: &str) {
        let Some(volume) = self.cloud.volumes.get(name).cloned() else {
            return;
        };
        if self.kernel.of_volume(name).is_none() {
            self.plug(NewDisk {
                size: volume.size,
                serial: Some(volume.serial),
                content: Content::Volume(name.to_owned()),
            });
        }
    }

    /// A stranger has the cloud at work on the volume.
    pub(crate) fn work(&mut self, name: &str, takes: Duration) {
        let now = self.elapsed();
        self.tell(format!("stranger: work on {name} for {takes:?}"));
        if let Some(volume) = self.cloud.volumes.get_mut(name) {
            volume.busy = Some("a stranger's snapshot".into());
            volume.worked_on = Some(now);
            self.plan(takes, Due::Rest(name.to_owned()));
        }
    }

    pub(crate) fn rest(&mut self, name: &str) {
        if let Some(volume) = self.cloud.volumes.get_mut(name) {
            volume.busy = None;
            volume.worked_on = None;
        }
    }

    /// The disk of an attach comes late, where it is still wanted.
    pub(crate) fn plug_late(&mut self, name: &str) {
        let attached = self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref());
        if attached == Some(OWN_VM) {
            self.plug_volume(name);
        }
    }

    fn grow(&mut self, name: &str, size: Bytes) {
        if let Some(seq) = self.kernel.of_volume(name).map(|disk| disk.seq)
            && let Some(disk) = self.kernel.disk_mut(seq)
        {
            disk.size = size;
            self.changed();
        }
    }
}
