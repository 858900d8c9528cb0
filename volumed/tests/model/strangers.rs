//! Those who do not ask the daemon: people in the cloud's UI and at the hypervisor.

use std::time::Duration;

use volumed::model::{Bytes, VolumeState};
use volumed::store::{self, VolumeRecord};

use crate::client::volume;
use crate::cloud_state::{OTHER_VM, OWN_VM};
use crate::daemon::Daemon;
use crate::event::{Stranger, Which};
use crate::kernel::{Content, NewDisk};
use crate::world::{State, World};

const MIB: u64 = 1 << 20;

/// Lets a stranger do what he can do now.
pub(crate) async fn meddle(daemon: &Daemon, world: &World, stranger: &Stranger) {
    match *stranger {
        Stranger::Plug { mib } => {
            let size = Bytes(mib * MIB);
            let (serial, content) = (None, Content::Foreign);
            world.now().plug(NewDisk {
                size,
                serial,
                content,
            });
        }
        Stranger::Unplug(which) => world.now().unplug_foreign(which),
        Stranger::Detach { volume: of, .. }
        | Stranger::AttachHere(of)
        | Stranger::AttachElsewhere(of)
        | Stranger::DetachElsewhere(of)
        | Stranger::Delete(of)
        | Stranger::Work { volume: of, .. }
        | Stranger::Forge(of)
        | Stranger::Pull(of)
        | Stranger::PlugBack(of) => {
            let Some(volume) = volume(daemon, of).await else {
                return;
            };
            let is_bound = is_bound(daemon, world, &volume).await;
            let mut world = world.now();
            let name = world.name_of_ours(volume.id);
            if let Some(name) = name {
                world.meddle(stranger, &name, is_bound);
            }
        }
    }
}

/// Whether the daemon has bound the very attachment that the cloud shows, in this boot: then no other plug-in can be taken for
/// it. After a reboot every disk is plugged in anew, and nothing is remembered of the plug-ins of before.
async fn is_bound(daemon: &Daemon, world: &World, volume: &VolumeRecord) -> bool {
    let id = volume.id;
    let bound = daemon.store.read(move |conn| {
        let Some(live) = store::attachments::live(conn, id)? else {
            return Ok(None);
        };
        let latest = store::mappings::latest_of(conn, live.id)?;
        Ok(latest.map(|mapping| (live.mark, mapping.observed.boot_id)))
    });
    let boot = world.now().kernel.boot.clone();
    let bound = bound.await.unwrap().filter(|(_, of)| *of == boot);
    let mark = bound.and_then(|(mark, _)| mark);
    let shown = world.now().cloud.volumes.iter().find_map(|(name, known)| {
        (name.ends_with(&id.to_string()) && known.attached.is_some()).then(|| known.mark.to_string())
    });
    volume.state == VolumeState::InUse && mark.is_some() && mark == shown
}

impl State {
    fn meddle(&mut self, stranger: &Stranger, name: &str, is_bound: bool) {
        let volume = self.cloud.volumes[name].clone();
        let (attached, plugged) = (volume.attached.as_deref(), self.kernel.of_volume(name).is_some());
        if volume.busy.is_some() {
            return;
        }
        let is_twinned = self
            .kernel
            .carriers(&volume.serial)
            .any(|disk| disk.content == Content::Foreign);
        match *stranger {
            Stranger::Detach { late_millis, .. } if attached == Some(OWN_VM) => {
                self.set_attached(name, None);
                self.unplug_volume(name, Duration::from_millis(late_millis));
            }
            Stranger::AttachHere(_) if attached.is_none() && !plugged => {
                self.set_attached(name, Some(OWN_VM));
                self.plug_volume(name);
            }
            Stranger::AttachElsewhere(_) if attached.is_none() => self.set_attached(name, Some(OTHER_VM)),
            Stranger::DetachElsewhere(_) if attached == Some(OTHER_VM) => self.set_attached(name, None),
            Stranger::Work { seconds, .. } => self.work(name, Duration::from_secs(seconds)),
            Stranger::Delete(_) if attached.is_none() && !plugged => {
                self.tell(format!("stranger: delete {name}"));
                self.cloud.volumes.remove(name);
            }
            // Alone with its serial while the cloud says that the volume is attached here, and before the daemon bound the
            // volume's own disk, a forged disk cannot be told from that: a serial is a claim (docs/reliability.md).
            Stranger::Forge(_) if !is_twinned && (plugged || is_bound || self.is_quiet(name)) => {
                self.plug(NewDisk {
                    size: volume.size,
                    serial: Some(volume.serial),
                    content: Content::Foreign,
                });
            }
            Stranger::Pull(_) if attached == Some(OWN_VM) && plugged => {
                self.tell(format!("stranger: pull {name}"));
                self.unplug_volume(name, Duration::ZERO);
            }
            Stranger::PlugBack(_) if attached == Some(OWN_VM) => self.plug_volume(name),
            _ => {}
        }
    }

    /// Whether the volume is detached, and no call about it may come.
    fn is_quiet(&self, name: &str) -> bool {
        let is_detached = self.cloud.volumes[name].attached.is_none();
        let ended = |stage: &_| matches!(stage, crate::cloud_state::Stage::Ended(_));
        let mut jobs = self.cloud.jobs.values();
        is_detached && !jobs.any(|job| job.volume == name && !ended(&job.stage))
    }

    fn unplug_foreign(&mut self, which: Which) {
        let foreign: Vec<u64> = self
            .kernel
            .plugged()
            .filter(|disk| disk.content == Content::Foreign)
            .map(|disk| disk.seq)
            .collect();
        if let Some(seq) = foreign.get(which % foreign.len().max(1)) {
            let boot = self.kernel.boot.clone();
            self.unplug(&boot, *seq);
        }
    }

    /// What a person does at the end who reads the findings: disks that the cloud does not know of are taken out, and whoever
    /// uses a device ends it.
    pub(crate) fn clean_up(&mut self) {
        self.cloud.faults.clear();
        self.cloud.failing_reads = 0;
        self.cloud.is_stale = false;
        // What nobody was told of is nobody's.
        let of_nobody = |(name, volume): (&String, &crate::cloud_state::SimVolume)| {
            let is_found = volume.attached.is_some() && volume.busy.is_none();
            (is_found && !self.cloud.born.contains(name)).then(|| name.clone())
        };
        let found: Vec<String> = self.cloud.volumes.iter().filter_map(of_nobody).collect();
        for name in found {
            self.set_attached(&name, None);
        }
        let known = |name: &str, state: &Self| {
            let volume = state.cloud.volumes.get(name);
            volume.is_some_and(|volume| volume.attached.as_deref() == Some(OWN_VM) || volume.busy.is_some())
        };
        let stray: Vec<u64> = self
            .kernel
            .plugged()
            .filter(|disk| match &disk.content {
                Content::Foreign => disk.serial.is_some(),
                Content::Volume(name) => !known(name, self),
            })
            .map(|disk| disk.seq)
            .collect();
        let boot = self.kernel.boot.clone();
        for seq in stray {
            self.unplug(&boot, seq);
        }
        for disk in &mut self.kernel.disks {
            disk.opened = None;
        }
    }
}
