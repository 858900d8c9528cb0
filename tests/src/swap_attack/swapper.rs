//! Whoever swaps the disks: at the hypervisor, behind the backs of cloud and daemon.

use std::time::Duration;

use super::Target;
use crate::virtual_machine::{MachineError, PluggableDisk, QemuHypervisor};
use crate::{Chance, HypervisorError, VirtualSite};

/// How long the guest may take to let a disk go.
const PATIENCE: Duration = Duration::from_secs(60);

/// The slots that the two disks change.
const SLOTS: [u8; 2] = [2, 3];

pub(super) struct Swapper<'a> {
    site: &'a VirtualSite,
    hypervisor: QemuHypervisor,
    targets: &'a [Target; 2],
    /// Which of the slots the first disk goes into next.
    turned: bool,
}

impl<'a> Swapper<'a> {
    pub(super) fn new(site: &'a VirtualSite, targets: &'a [Target; 2]) -> Result<Self, MachineError> {
        Ok(Self {
            site,
            hypervisor: site.machine.hypervisor(),
            targets,
            turned: false,
        })
    }

    /// Pulls both disks out and plugs in, each in the other's slot and in an order of chance, those that the cloud says are
    /// attached.
    pub(super) async fn swap(&mut self, chance: &mut Chance) -> Result<(), MachineError> {
        self.pull_both().await?;
        self.turned = !self.turned;
        let first = usize::from(chance.below(2) == 0);
        for n in [first, 1 - first] {
            let is_attached = self
                .site
                .cloud
                .volume(self.targets[n].cloud_id)
                .is_some_and(|volume| volume.attachment.is_some());
            if is_attached {
                self.plug(n).await?;
            }
        }
        Ok(())
    }

    async fn plug(&self, n: usize) -> Result<(), MachineError> {
        let slot = SLOTS[usize::from(self.turned != (n == 1))];
        let disk = PluggableDisk {
            serial: Some(self.targets[n].disk.serial.clone()),
            image: self.targets[n].disk.image.clone(),
        };
        // The slot may be taken meanwhile, or the disk be plugged in by the cloud: then the swap went otherwise.
        match self.hypervisor.plug_any(disk.clone(), Some(slot)).await {
            Ok(_) => Ok(()),
            Err(_) => self.still_there(self.hypervisor.plug_any(disk, None).await.map(drop)),
        }
    }

    async fn pull_both(&self) -> Result<(), MachineError> {
        let pull = async |target: &Target| {
            let found = self
                .hypervisor
                .slots()
                .into_iter()
                .find(|(_, disk)| disk.image == target.disk.image);
            match found {
                None => Ok(()),
                Some((slot, _)) => self.hypervisor.unplug_slot(slot, PATIENCE).await,
            }
        };
        let (a, b) = tokio::join!(pull(&self.targets[0]), pull(&self.targets[1]));
        self.still_there(a)?;
        self.still_there(b)
    }

    /// The daemon's own attaches and detaches get in the way, and that is meant; a machine that died does too.
    fn still_there(&self, done: Result<(), HypervisorError>) -> Result<(), MachineError> {
        match done {
            Err(_) if !self.site.machine.is_alive() => Err(MachineError::EmulatorDied {
                how: "it is gone".to_owned(),
                said: self.site.machine.console_log(),
            }),
            _ => Ok(()),
        }
    }

    /// Brings back what the cloud says is attached, takes away what it does not, so that all can agree at the end.
    pub(super) async fn settle(&mut self) -> Result<(), MachineError> {
        self.swap(&mut Chance::from_seed(0)).await
    }
}
