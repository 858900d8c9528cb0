//! Who uses the devices of volumes: looked at seldom, for it means looking at every descriptor of every process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::device::{Disk, Inventory, SysRoot, Usage, openers_of};
use crate::model::VolumeId;

/// The users of each disk, by the number of its plug-in; one text per use.
type ByPlugIn = BTreeMap<(VolumeId, Option<u64>), Vec<String>>;

/// What was seen at the latest look, and when that was.
pub(super) struct Users {
    every: Duration,
    latest: Mutex<Option<(Instant, Arc<ByPlugIn>)>>,
}

impl Users {
    pub(super) fn new(every: Duration) -> Self {
        Self {
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
        let seen = Arc::new(look(inventory, disks).await.unwrap_or_default());
        *self.latest.lock() = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }
}

/// Who uses these disks now; `None` where that cannot be told.
pub(super) async fn look(inventory: &Arc<Inventory>, disks: HashMap<VolumeId, Disk>) -> Option<ByPlugIn> {
    let inventory = Arc::clone(inventory);
    let seen = tokio::task::spawn_blocking(move || {
        let root = SysRoot::default();
        let usage = Usage::collect(&root, &inventory)
            .map_err(|error| tracing::warn!(%error, "not known who uses the devices"))
            .ok()?;
        let (volumes, disks): (Vec<_>, Vec<_>) = disks.into_iter().unzip();
        let openers = openers_of(&root, &disks.iter().collect::<Vec<_>>())
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
    });
    seen.await.ok().flatten()
}
