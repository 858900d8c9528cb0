//! Asking the kernel, from async code: every question that may block runs on a thread where blocking is allowed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::device_failure::{mismatch, refusal, unreadable};
use super::step::{Context, StepError, with_causes};
use crate::device::{
    self, ChangeExpected, Correlation, Disk, Exclusivity, HeldDisk, Inventory, InventoryFeed, Machine,
    PinError, Usage,
};
use crate::model::{DevNum, DeviceExpectation, ErrorCode, Failure, Identity};
use crate::store::Observation;
use crate::store::mappings::NOT_COUNTED;

/// How long anything but "missing" must stand before it decides: links settle, scanners close what they opened.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// A scan takes milliseconds; one that takes this long hangs in the kernel.
const SCAN_DEADLINE: Duration = Duration::from_secs(10);

/// The kernel of this machine.
pub(super) struct Kernel {
    feed: InventoryFeed,
    machine: Arc<dyn Machine>,
}

impl Kernel {
    pub(super) fn new(feed: InventoryFeed, machine: Arc<dyn Machine>) -> Self {
        Self { feed, machine }
    }

    /// Asks the machine, on a thread where blocking is allowed unless it never blocks.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Machine) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if self.machine.answers_at_once() {
            return Ok(question(&*self.machine));
        }
        let machine = Arc::clone(&self.machine);
        let lost = |_| Failure::new(ErrorCode::Internal, "asking the kernel did not come to its end");
        tokio::task::spawn_blocking(move || question(&*machine))
            .await
            .map_err(lost)
    }

    /// The latest inventory.
    pub(super) fn inventory(&self) -> Arc<Inventory> {
        self.feed.latest()
    }

    /// Waits until the disks are not those of `seen`, and returns the inventory that shows it. An inventory that only
    /// repeats what was seen does not count.
    pub(super) async fn changed_since(&self, seen: &Inventory) -> Arc<Inventory> {
        let differs = |now: &Arc<Inventory>| {
            (now.disks != seen.disks || now.unsettled != seen.unsettled).then(|| Arc::clone(now))
        };
        let far = Instant::now() + Duration::from_secs(3600);
        match self.feed.wait_for(differs, far).await {
            Ok(inventory) => inventory,
            // The watcher has ended, and the daemon with it soon.
            Err(_) => std::future::pending().await,
        }
    }

    /// An inventory that was taken after this was asked.
    pub(super) async fn look(&self) -> Result<Arc<Inventory>, Failure> {
        self.feed
            .rescan(Instant::now() + SCAN_DEADLINE)
            .await
            .map_err(|error| {
                Failure::new(
                    ErrorCode::DeviceUnverifiable,
                    format!("cannot list the devices: {}", with_causes(&error)),
                )
            })
    }

    pub(super) async fn correlate(
        &self,
        inventory: &Arc<Inventory>,
        expected: &DeviceExpectation,
    ) -> Result<Correlation, Failure> {
        let (inventory, expected) = (Arc::clone(inventory), expected.clone());
        self.ask(move |machine| {
            let usage = machine
                .usage(&inventory)
                .map_err(|e| Failure::new(ErrorCode::DeviceUnverifiable, with_causes(&e)))?;
            Ok(device::correlate(&inventory, &usage, &expected))
        })
        .await?
    }

    /// Opens the disk and proves it through the descriptor.
    pub(super) async fn open(
        &self,
        disk: Disk,
        expected: &DeviceExpectation,
    ) -> Result<Result<Arc<dyn HeldDisk>, PinError>, Failure> {
        let expected = expected.clone();
        self.ask(move |machine| machine.open(&disk, &expected)).await
    }

    /// Finds and proves the expected device in a fresh inventory, whoever uses it: for one that was bound before.
    pub(super) async fn reopen(&self, expected: &DeviceExpectation) -> Result<Arc<dyn HeldDisk>, Failure> {
        let inventory = self.look().await?;
        match device::correlate(&inventory, &Usage::default(), expected) {
            // The caller compares it with the very plug-in that was bound, before there was a dispute or while there was none.
            Correlation::Matched(disk) | Correlation::Disputed(disk) => {
                self.open(disk, expected).await?.map_err(|e| refusal(&e))
            }
            other => Err(mismatch(&other, expected)),
        }
    }

    /// Asks the kernel again, through the descriptor that is held, whether it is the expected device, and that no other
    /// device of the latest inventory claims to be it too.
    pub(super) async fn verify(
        &self,
        pin: Arc<dyn HeldDisk>,
        expected: &DeviceExpectation,
    ) -> Result<Observation, Failure> {
        let inventory = self.inventory();
        require_single(&inventory, expected)?;
        let (expected, boot_id) = (expected.clone(), inventory.boot_id.clone());
        self.ask(move |machine| {
            let seen = pin.verify(&expected).map_err(|e| refusal(&e))?;
            Ok(Observation {
                identity: seen.identity,
                boot_id,
                diskseq: seen.diskseq,
                size: seen.size,
                device_path: seen.path.display().to_string(),
                devnum: seen.devnum.to_string(),
                written_sectors: machine.written_sectors(seen.devnum).unwrap_or(NOT_COUNTED),
            })
        })
        .await?
    }

    /// Brings everything written to the device to the volume.
    pub(super) async fn flush(&self, pin: Arc<dyn HeldDisk>) -> Result<(), Failure> {
        let failed = |e: PinError| {
            let text = format!(
                "data written to the device may not have reached the volume: {}",
                with_causes(&e)
            );
            Failure::new(ErrorCode::DeviceUnverifiable, text)
                .hint("check the volume's content before you use it")
        };
        self.ask(move |_| pin.flush()).await?.map_err(failed)
    }

    /// Who uses a device of this identity, beside ourselves; one text per use. Every device that carries it is looked at,
    /// held by us or not. Who only has it open gets a moment to close it: scanners of udev and of others do so at once.
    pub(super) async fn uses(&self, identity: &Identity) -> Result<Vec<String>, Failure> {
        let began = Instant::now();
        loop {
            let Uses { mut lasting, passing } = self.uses_now(identity).await?;
            if !lasting.is_empty() || passing.is_empty() || began.elapsed() >= SETTLE {
                lasting.extend(passing);
                return Ok(lasting);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn uses_now(&self, identity: &Identity) -> Result<Uses, Failure> {
        let (inventory, identity) = (self.look().await?, identity.clone());
        self.ask(move |machine| {
            let usage = machine.usage(&inventory).map_err(|e| unreadable(&e))?;
            let mut all = Uses::default();
            for disk in inventory.carriers(&identity) {
                all.collect(machine, &usage, disk)?;
            }
            Ok(all)
        })
        .await?
    }

    /// The nodes that carry this identity in a fresh inventory.
    pub(super) async fn carriers(&self, identity: &Identity) -> Result<Vec<String>, Failure> {
        let inventory = self.look().await?;
        let nodes = inventory.carriers(identity);
        Ok(nodes.map(|disk| disk.node.display().to_string()).collect())
    }

    /// Whether a fresh inventory has no device of this identity.
    pub(super) async fn is_gone(&self, identity: &Identity) -> Result<bool, Failure> {
        Ok(is_absent(&*self.look().await?, identity))
    }

    /// Whether the latest inventory no longer has the very plug-in that is held: it was pulled out.
    pub(super) fn is_pulled_out(&self, pin: &dyn HeldDisk) -> bool {
        let inventory = self.inventory();
        let mut disks = inventory.disks.iter();
        inventory.unsettled.is_empty()
            && !disks.any(|disk| disk.devnum == pin.devnum() && disk.diskseq == pin.diskseq())
    }

    /// Waits a few seconds for the device of this identity to go; says whether it went.
    pub(super) async fn await_gone(&self, cx: &Context, identity: &Identity) -> Result<bool, StepError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let _watched = self.feed.expect_change();
        let mut inventory = self.look().await?;
        while !is_absent(&inventory, identity) {
            tokio::select! {
                () = cx.interrupted.cancelled() => return Err(StepError::Interrupted),
                () = tokio::time::sleep_until(deadline) => return Ok(false),
                changed = self.changed_since(&inventory) => inventory = changed,
            }
        }
        Ok(true)
    }

    /// Makes the watcher look often until the guard is dropped.
    pub(super) fn expect_change(&self) -> ChangeExpected {
        self.feed.expect_change()
    }

    /// Has the PCI bus look for disks that it was not told of.
    pub(super) async fn rescan_bus(&self) -> Result<(), Failure> {
        let asked = self.ask(|machine| machine.rescan_bus()).await?;
        asked.map_err(|error| unreadable(&error))
    }

    /// How long ago the kernel announced this incarnation; `None` where its uevent never came here.
    pub(super) fn since_announced(&self, diskseq: Option<u64>) -> Option<Duration> {
        Some(self.feed.announced(diskseq?)?.elapsed())
    }

    /// How many sectors the kernel counts as written or discarded on the device.
    pub(super) fn written_sectors(&self, devnum: DevNum) -> Option<u64> {
        self.machine.written_sectors(devnum)
    }
}

/// How a device is used: what stays until somebody ends it, and what may be over in a moment.
#[derive(Default)]
struct Uses {
    lasting: Vec<String>,
    passing: Vec<String>,
}

impl Uses {
    fn collect(&mut self, machine: &dyn Machine, usage: &Usage, disk: &Disk) -> Result<(), Failure> {
        let node = disk.node.display();
        self.lasting
            .extend(usage.of(disk.devnum).iter().map(|one| format!("{node} is {one}")));
        let openers = machine.openers(disk).map_err(|e| unreadable(&e))?;
        let open = |o: &device::Opener| format!("{node} is open in {} (pid {})", o.comm, o.pid);
        self.passing.extend(openers.iter().map(open));
        let claim = machine.exclusive_probe(disk).map_err(|e| unreadable(&e))?;
        if self.lasting.is_empty() && openers.is_empty() && claim == Exclusivity::Claimed {
            self.passing.push(format!(
                "{node} is claimed exclusively by something that cannot be seen from here"
            ));
        }
        Ok(())
    }
}

/// That not more than one disk carries the expected identity: with two of them, none is known to be the right one, not
/// even the one that was held before the other came.
fn require_single(inventory: &Inventory, expected: &DeviceExpectation) -> Result<(), Failure> {
    let disks: Vec<Disk> = inventory.carriers(&expected.identity).cloned().collect();
    match disks.len() {
        0 | 1 => Ok(()),
        _ => Err(mismatch(&Correlation::Ambiguous(disks), expected)),
    }
}

fn is_absent(inventory: &Inventory, identity: &Identity) -> bool {
    inventory.unsettled.is_empty() && inventory.carriers(identity).next().is_none()
}
