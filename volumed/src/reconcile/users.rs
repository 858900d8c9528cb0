//! Who uses the devices of volumes: looked at seldom, for it means looking at every descriptor of every process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::device::{Disk, Inventory, Machine};
use crate::model::VolumeId;

/// The users of each disk, by the number of its plug-in; one text per use.
type ByPlugIn = BTreeMap<(VolumeId, Option<u64>), Vec<String>>;

/// What was seen at the latest look, and when that was.
pub(super) struct Users {
    machine: Arc<dyn Machine>,
    every: Duration,
    latest: Mutex<Option<(Instant, Arc<ByPlugIn>)>>,
}

impl Users {
    pub(super) fn new(machine: Arc<dyn Machine>, every: Duration) -> Self {
        Self {
            machine,
            every,
            latest: Mutex::default(),
        }
    }

    /// Who uses these disks, beside ourselves, as it was not longer than `every` ago. A disk that is not in the answer was
    /// not looked at. Without disks nothing is looked at.
    pub(super) async fn of(
        &self,
        inventory: &Arc<Inventory>,
        disks: HashMap<VolumeId, Disk>,
    ) -> Arc<ByPlugIn> {
        if disks.is_empty() {
            return Arc::default();
        }
        let latest = self.latest.lock().clone();
        if let Some((at, seen)) = latest.filter(|(at, _)| at.elapsed() < self.every) {
            tracing::trace!(age = ?at.elapsed(), "who uses the devices was seen lately");
            return seen;
        }
        let seen = Arc::new(look(&self.machine, inventory, disks).await.unwrap_or_default());
        *self.latest.lock() = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }
}

/// Who uses these disks now; `None` where that cannot be told.
pub(super) async fn look(
    machine: &Arc<dyn Machine>,
    inventory: &Arc<Inventory>,
    disks: HashMap<VolumeId, Disk>,
) -> Option<ByPlugIn> {
    let (machine, inventory) = (Arc::clone(machine), Arc::clone(inventory));
    if machine.answers_at_once() {
        return seen_by(&*machine, &inventory, disks);
    }
    let seen = tokio::task::spawn_blocking(move || seen_by(&*machine, &inventory, disks));
    seen.await.ok().flatten()
}

fn seen_by(machine: &dyn Machine, inventory: &Inventory, disks: HashMap<VolumeId, Disk>) -> Option<ByPlugIn> {
    let usage = machine
        .usage(inventory)
        .map_err(|error| tracing::warn!(%error, "not known who uses the devices"))
        .ok()?;
    let (volumes, disks): (Vec<_>, Vec<_>) = disks.into_iter().unzip();
    let openers = machine
        .openers_of(&disks.iter().collect::<Vec<_>>())
        .map_err(|error| tracing::warn!(%error, "not known who has the devices open"))
        .ok()?;
    let described = volumes
        .iter()
        .zip(disks.iter().zip(openers))
        .map(|(volume, (disk, openers))| {
            let node = disk.node.display();
            let mut texts: Vec<_> = usage
                .of(disk.devnum)
                .iter()
                .map(|one| format!("{node} is {one}"))
                .collect();
            let open = |o: crate::device::Opener| format!("{node} is open in {} (pid {})", o.comm, o.pid);
            texts.extend(openers.into_iter().map(open));
            ((*volume, disk.diskseq), texts)
        });
    Some(described.collect())
}
