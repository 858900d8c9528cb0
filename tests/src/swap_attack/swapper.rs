//! Whoever swaps the disks: at the hypervisor, behind the backs of cloud and daemon.

use std::time::Duration;

use super::Target;
use crate::virtual_machine::{MachineError, PluggableDisk, QemuHypervisor};
use crate::{Chance, HypervisorError, VirtualSite};

/// How long the guest may take to let a disk go.
const PATIENCE: Duration = Duration::from_secs(60);

/// The slots of a pair's disks begin here; each pair has two.
const FIRST_SLOT: u8 = 2;

pub(super) struct Swapper<'a> {
    site: &'a VirtualSite,
    hypervisor: QemuHypervisor,
    pairs: &'a [[Target; 2]],
    /// Whether the disks of a pair go into each other's slots next.
    turned: bool,
}

impl<'a> Swapper<'a> {
    pub(super) fn new(site: &'a VirtualSite, pairs: &'a [[Target; 2]]) -> Self {
        Self {
            site,
            hypervisor: site.machine.hypervisor(),
            pairs,
            turned: false,
        }
    }

    /// Pulls every disk out and plugs in, each in its partner's slot and in an order of chance, those that the cloud says are
    /// attached. All pairs at once.
    pub(super) async fn swap(&mut self, chance: &mut Chance) -> Result<(), MachineError> {
        self.turned = !self.turned;
        let firsts: Vec<usize> = self
            .pairs
            .iter()
            .map(|_| usize::from(chance.below(2) == 0))
            .collect();
        let swaps = (0..self.pairs.len()).map(|pair| self.swap_pair(pair, firsts[pair]));
        futures_util::future::try_join_all(swaps).await.map(drop)
    }

    async fn swap_pair(&self, pair: usize, first: usize) -> Result<(), MachineError> {
        let [a, b] = &self.pairs[pair];
        let (a, b) = tokio::join!(self.pull(a), self.pull(b));
        self.still_there(a)?;
        self.still_there(b)?;
        for n in [first, 1 - first] {
            let volume = self.site.cloud.volume(self.pairs[pair][n].cloud_id);
            if volume.is_some_and(|volume| volume.attachment.is_some()) {
                self.plug(pair, n).await?;
            }
        }
        Ok(())
    }

    async fn plug(&self, pair: usize, n: usize) -> Result<(), MachineError> {
        let place = 2 * pair + usize::from(self.turned != (n == 1));
        let slot = FIRST_SLOT + u8::try_from(place).expect("there are few pairs");
        let disk = &self.pairs[pair][n].disk;
        let disk = PluggableDisk {
            serial: Some(disk.serial.clone()),
            image: disk.image.clone(),
        };
        // The slot may be taken meanwhile, or the disk be plugged in by the cloud: then the swap went otherwise.
        match self.hypervisor.plug_any(disk.clone(), Some(slot)).await {
            Ok(_) => Ok(()),
            Err(_) => self.still_there(self.hypervisor.plug_any(disk, None).await.map(drop)),
        }
    }

    async fn pull(&self, target: &Target) -> Result<(), HypervisorError> {
        let slots = self.hypervisor.slots();
        match slots
            .into_iter()
            .find(|(_, disk)| disk.image == target.disk.image)
        {
            None => Ok(()),
            Some((slot, _)) => self.hypervisor.unplug_slot(slot, PATIENCE).await,
        }
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
