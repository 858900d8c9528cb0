//! Disks plugged into the machine and pulled out of it, while it runs, as CloudStack's agent has libvirt do it.
//!
//! An unplug is a request to the guest. When the guest lets go, QEMU says so in an event, and one task, whoever waits or
//! has given up waiting, takes the image away and frees the slot.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::emulator::raw_image;
use super::qmp::{DeviceDeleted, Qmp, QmpError};
use super::slots::{Occupant, PluggableDisk, SlotError, Slots, Stage};
use crate::{Chance, Disk, Hypervisor, HypervisorError};

/// The first slot of the PCI bus that is a disk's; those below are taken by what every machine has.
const FIRST_PCI_SLOT: u8 = 6;

/// How many targets a SCSI controller has.
const SCSI_TARGETS: u64 = 255;

/// How long a request to leave stands in the way of another (source: newer QEMUs; 5 s in `hw/pci/pcie.c`, as good as nothing in
/// `hw/acpi/pcihp.c`, because a guest that boots misses requests).
const UNPLUG_PENDS: Duration = Duration::from_secs(5);

/// What disks are attached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskBus {
    /// A PCI device for each disk: `vdb`; the guest has to let it go.
    #[default]
    VirtioBlk,
    /// A unit of one controller: `sda`, serial in VPD page 0x80. QEMU takes it away at once, guest or no guest.
    VirtioScsi,
}

/// The hypervisor of one machine. Clones are the same; it outlives a power cut, and every disk with it.
#[derive(Debug, Clone)]
pub struct QemuHypervisor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bus: DiskBus,
    reuses_scsi_addresses: bool,
    slots: Mutex<Slots>,
    /// Changes whenever a slot is freed or the machine is started anew.
    changes: watch::Sender<()>,
    /// The QEMU that runs now.
    qmp: Mutex<Option<Qmp>>,
}

impl From<SlotError> for HypervisorError {
    fn from(error: SlotError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<QmpError> for HypervisorError {
    fn from(error: QmpError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl QemuHypervisor {
    pub(super) fn new(bus: DiskBus, reuses_scsi_addresses: bool) -> Self {
        let shared = Shared {
            bus,
            reuses_scsi_addresses,
            slots: Mutex::default(),
            changes: watch::Sender::new(()),
            qmp: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Plugs any disk, into the slot wanted or the first that is free, and returns the slot.
    ///
    /// # Errors
    /// Where the slot or the image is taken, or in QEMU's words.
    pub async fn plug_any(&self, disk: PluggableDisk, slot: Option<u8>) -> Result<u8, HypervisorError> {
        let qmp = self.qmp()?;
        let (slot, occupant) = self.shared.slots.lock().take(&disk, slot)?;
        let shared = Arc::clone(&self.shared);
        // Whoever asked may give up; a disk is never left half plugged in.
        let plugging = tokio::spawn(async move {
            let plugged = shared.plug(&qmp, slot, &occupant).await;
            match &plugged {
                Ok(()) => shared.slots.lock().set_stage(occupant.number, Stage::Plugged),
                Err(_) => shared.clear(occupant.number),
            }
            plugged
        });
        let plugged = plugging
            .await
            .map_err(|error| HypervisorError::Refused(error.to_string()))?;
        plugged.map(|()| slot).map_err(HypervisorError::from)
    }

    /// Pulls out what is in a slot, as [`Hypervisor::unplug`] does.
    ///
    /// # Errors
    /// As [`Hypervisor::unplug`].
    pub async fn unplug_slot(&self, slot: u8, patience: Duration) -> Result<(), HypervisorError> {
        let occupant = self.shared.slots.lock().at(slot);
        self.pull(occupant.ok_or(HypervisorError::NotPlugged)?, patience)
            .await
    }

    /// The disks and their slots, those that the guest was asked to let go among them.
    #[must_use]
    pub fn slots(&self) -> Vec<(u8, PluggableDisk)> {
        let slots = self.shared.slots.lock();
        slots
            .iter()
            .map(|(slot, other)| (slot, other.disk.clone()))
            .collect()
    }

    fn qmp(&self) -> Result<Qmp, HypervisorError> {
        let qmp = self.shared.qmp.lock().clone();
        qmp.ok_or_else(|| HypervisorError::Refused("domain is not running".to_owned()))
    }

    async fn pull(&self, occupant: Occupant, patience: Duration) -> Result<(), HypervisorError> {
        let qmp = self.qmp()?;
        let mut changes = self.shared.changes.subscribe();
        let number = occupant.number;
        self.shared.claim_for_leaving(number)?;
        let shared = Arc::clone(&self.shared);
        // Whoever asked may give up; it is known all the same whether the guest was asked.
        let asking = tokio::spawn(async move { shared.ask_to_leave(&qmp, number).await });
        asking
            .await
            .map_err(|error| HypervisorError::Refused(error.to_string()))??;
        let left = tokio::time::timeout(patience, async {
            while self.shared.slots.lock().holds(number) {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        });
        left.await.map_err(|_| HypervisorError::TimedOut(patience))
    }

    fn find(&self, image: &Path) -> Result<Occupant, HypervisorError> {
        let found = self.shared.slots.lock().find(|disk| disk.image == image);
        found.ok_or(HypervisorError::NotPlugged)
    }

    /// The disks as QEMU is told of them on its command line; one that was on its way in has not arrived.
    pub(super) fn for_command_line(&self) -> Vec<(Value, Value)> {
        let slots = self.shared.slots.lock();
        slots
            .iter()
            .filter(|(_, other)| other.stage != Stage::Arriving)
            .map(|(slot, other)| (backend(other), self.shared.device(slot, other)))
            .collect()
    }

    /// Deals the slots anew. The machine must not run.
    pub(super) fn shuffle(&self, chance: &mut Chance) {
        self.shared.slots.lock().shuffle(chance);
    }

    /// From now on this QEMU is the machine; it was started with every disk that there is.
    pub(super) fn take_over(&self, qmp: Qmp, deleted: mpsc::Receiver<DeviceDeleted>) {
        self.shared.slots.lock().start_anew();
        *self.shared.qmp.lock() = Some(qmp.clone());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.bury(&qmp, deleted).await });
    }

    /// The machine is off. Disks can neither come nor go until it is on again.
    pub(super) fn let_go(&self) {
        *self.shared.qmp.lock() = None;
    }
}

impl Shared {
    async fn plug(&self, qmp: &Qmp, slot: u8, occupant: &Occupant) -> Result<(), QmpError> {
        qmp.execute("blockdev-add", backend(occupant)).await?;
        let added = qmp.execute("device_add", self.device(slot, occupant)).await;
        if added.is_err() {
            remove_backend(qmp, occupant.number).await;
        }
        added.map(drop)
    }

    async fn ask_to_leave(&self, qmp: &Qmp, number: u64) -> Result<(), QmpError> {
        let asked = qmp.execute("device_del", json!({"id": device_id(number)})).await;
        if asked.is_err() {
            self.slots.lock().set_stage(number, Stage::Plugged);
        }
        asked.map(drop)
    }

    fn device(&self, slot: u8, occupant: &Occupant) -> Value {
        let number = occupant.number;
        let mut device = match self.bus {
            DiskBus::VirtioBlk => {
                json!({"driver": "virtio-blk-pci", "bus": "pci.0", "addr": format!("{:#x}", slot + FIRST_PCI_SLOT)})
            }
            DiskBus::VirtioScsi => {
                let target = match self.reuses_scsi_addresses {
                    true => u64::from(slot),
                    false => number % SCSI_TARGETS,
                };
                json!({"driver": "scsi-hd", "bus": "scsi0.0", "channel": 0, "scsi-id": target, "lun": 0})
            }
        };
        device["id"] = device_id(number).into();
        device["drive"] = node_name(number).into();
        if let Some(serial) = &occupant.disk.serial {
            device["serial"] = serial.as_str().into();
        }
        device
    }

    /// A second request while one is pending is refused in the words that users of CloudStack report, and later asks the guest
    /// again. QEMU 7.2 by itself would do that at once.
    fn claim_for_leaving(&self, number: u64) -> Result<(), HypervisorError> {
        let mut slots = self.slots.lock();
        let occupant = slots.iter().find(|(_, other)| other.number == number);
        match occupant.map(|(_, other)| other.stage) {
            None => Err(HypervisorError::NotPlugged),
            Some(Stage::Leaving(since)) if since.elapsed() < UNPLUG_PENDS => {
                Err(HypervisorError::Refused(format!(
                    "internal error: unable to execute QEMU command 'device_del': Device {} is already in the process of unplug",
                    device_id(number)
                )))
            }
            Some(Stage::Arriving) => Err(HypervisorError::Refused(
                "Timed out during operation: cannot acquire state change lock".to_owned(),
            )),
            Some(Stage::Plugged | Stage::Leaving(_)) => {
                slots.set_stage(number, Stage::Leaving(Instant::now()));
                Ok(())
            }
        }
    }

    /// Takes away the image of each device that left, for as long as this QEMU lives.
    async fn bury(&self, qmp: &Qmp, mut deleted: mpsc::Receiver<DeviceDeleted>) {
        while let Some(event) = deleted.recv().await {
            let Some(number) = number_of(&event.device) else {
                continue;
            };
            remove_backend(qmp, number).await;
            self.clear(number);
        }
    }

    fn clear(&self, number: u64) {
        self.slots.lock().clear(number);
        self.changes.send_replace(());
    }
}

async fn remove_backend(qmp: &Qmp, number: u64) {
    let removed = qmp
        .execute("blockdev-del", json!({"node-name": node_name(number)}))
        .await;
    if let Err(error) = removed {
        tracing::warn!(%error, number, "QEMU keeps an image open");
    }
}

fn backend(occupant: &Occupant) -> Value {
    raw_image(&node_name(occupant.number), &occupant.disk.image)
}

fn node_name(number: u64) -> String {
    format!("volume{number}")
}

fn device_id(number: u64) -> String {
    format!("virtio-disk{number}")
}

fn number_of(device: &str) -> Option<u64> {
    device.strip_prefix("virtio-disk")?.parse().ok()
}

#[async_trait]
impl Hypervisor for QemuHypervisor {
    async fn plug(&self, disk: &Disk) -> Result<(), HypervisorError> {
        let disk = PluggableDisk {
            serial: Some(disk.serial.clone()),
            image: disk.image.clone(),
        };
        self.plug_any(disk, None).await.map(drop)
    }

    async fn unplug(&self, disk: &Disk, patience: Duration) -> Result<(), HypervisorError> {
        self.pull(self.find(&disk.image)?, patience).await
    }

    async fn grown(&self, disk: &Disk) -> Result<(), HypervisorError> {
        let occupant = self.find(&disk.image)?;
        let size = tokio::fs::metadata(&disk.image)
            .await
            .map_err(|error| HypervisorError::Refused(error.to_string()))?
            .len();
        let arguments = json!({"node-name": node_name(occupant.number), "size": size});
        self.qmp()?.execute("block_resize", arguments).await?;
        Ok(())
    }

    async fn plugged(&self) -> Vec<Disk> {
        let disks = self.slots().into_iter().map(|(_, disk)| disk);
        disks
            .map(|disk| Disk {
                serial: disk.serial.unwrap_or_default(),
                image: disk.image,
            })
            .collect()
    }
}
