//! The reconciler: looks at what the cloud, the kernel and the records say, finds where they do not agree, and submits the
//! repairs that are safe as operations.
//!
//! One path: it takes no input, is woken by a change of the devices, by an event or by a timer, and does the same thing
//! each time. It never touches a volume that has an operation under way, and it changes nothing itself.

mod observe;
mod plan;
mod truth;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use volume_client::types::Finding;

use crate::cloud::Cloud;
use crate::device::InventoryFeed;
use crate::model::{OperationId, Request, VolumeId};
use crate::operation::{Operations, Submission};
use crate::store::{Asker, Store, StoreError};

use plan::{Disagreement, Repair};

/// How long a disagreement must stand before it is repaired: most are only one view being a moment late.
const GRACE: SignedDuration = SignedDuration::from_secs(3);
/// How long after a repair that did not help it is tried again; twice as long after each further one. A volume is not
/// anybody else's while it is being repaired.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// So often the pause is doubled: then it is a quarter of an hour.
const DOUBLED_AT_MOST: u32 = 4;

/// Compares the three views again and again.
pub struct Reconciler {
    store: Store,
    cloud: Arc<dyn Cloud>,
    feed: InventoryFeed,
    operations: Operations,
    timer: Duration,
    standing: Mutex<BTreeMap<Key, Standing>>,
}

type Key = (Option<VolumeId>, &'static str);

/// A disagreement that stands.
struct Standing {
    disagreement: Disagreement,
    since: Timestamp,
    repaired: Option<Repaired>,
}

/// The latest repair of a disagreement.
struct Repaired {
    operation: OperationId,
    /// When it was last seen under way.
    at: Timestamp,
    /// How many came before it.
    before: u32,
}

impl Repaired {
    /// Whether the disagreement may be repaired again.
    fn has_rested(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) >= AGAIN * (1 << self.before.min(DOUBLED_AT_MOST))
    }
}

impl Reconciler {
    /// A reconciler that looks at least every `timer`.
    #[must_use]
    pub fn new(
        store: Store,
        cloud: Arc<dyn Cloud>,
        feed: InventoryFeed,
        operations: Operations,
        timer: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            cloud,
            feed,
            operations,
            timer,
            standing: Mutex::default(),
        })
    }

    /// What does not agree at present.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let standing = self.standing.lock();
        let finding = |found: &Standing| {
            let seen = found.disagreement.clone();
            Finding {
                kind: seen.kind,
                severity: seen.severity,
                volume_id: seen.volume_id,
                record: seen.record,
                cloud: seen.cloud,
                kernel: seen.kernel,
                repair: seen.advice,
                operation_id: found.repaired.as_ref().map(|repaired| repaired.operation),
                since: found.since,
            }
        };
        standing.values().map(finding).collect()
    }

    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.store.event_ids();
        loop {
            let seen = self.feed.latest();
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "reconciling failed; it is tried again");
            }
            // A short breath: a burst of events is one reason to look, not many.
            let breath = tokio::time::sleep(Duration::from_millis(500));
            tokio::select! {
                () = stop.cancelled() => return,
                () = breath => {}
            }
            let soon = if self.standing.lock().is_empty() {
                self.timer
            } else {
                Duration::from_secs(2)
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(soon) => {}
                changed = events.changed() => if changed.is_err() { return },
                () = devices_changed(&self.feed, &seen.disks) => {}
            }
        }
    }

    /// Looks once, and submits what is due.
    ///
    /// # Errors
    /// Where the records cannot be read; nothing is concluded then.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let views = observe::views(&self.store, &*self.cloud, &self.feed).await?;
        let found = plan::disagreements(&views);
        let now = self.store.now();
        for (volume, request) in self.note(found, &plan::undecided(&views), now) {
            self.repair(volume, request, now).await;
        }
        Ok(())
    }

    /// Notes what was found and returns the repairs that are due.
    ///
    /// What was found of an undecided volume stands: a repair under way must not make its disagreement a new one, or one
    /// that does not help would be tried again and again without a pause.
    fn note(&self, found: Vec<Disagreement>, undecided: &[VolumeId], now: Timestamp) -> Vec<(Key, Repair)> {
        let mut standing = self.standing.lock();
        let keys: Vec<Key> = found.iter().map(Disagreement::key).collect();
        let is_undecided = |key: &Key| key.0.is_some_and(|id| undecided.contains(&id));
        standing.retain(|key, _| keys.contains(key) || is_undecided(key));
        for (key, found) in standing.iter_mut() {
            // The pause begins when the repair has ended.
            if let Some(repaired) = found.repaired.as_mut().filter(|_| is_undecided(key)) {
                repaired.at = now;
            }
        }
        let mut due = Vec::new();
        for disagreement in found {
            let key = disagreement.key();
            let entry = standing.entry(key).or_insert_with(|| {
                tracing::warn!(volume = ?disagreement.volume_id, kind = ?disagreement.kind, record = disagreement.record,
                    cloud = disagreement.cloud, kernel = disagreement.kernel, "views do not agree");
                Standing { disagreement: disagreement.clone(), since: now, repaired: None }
            });
            entry.disagreement = disagreement;
            let stood = now.duration_since(entry.since) >= GRACE;
            let rested = entry
                .repaired
                .as_ref()
                .is_none_or(|repaired| repaired.has_rested(now));
            if let Some(repair) = entry.disagreement.repair.filter(|_| stood && rested) {
                due.push((key, repair));
            }
        }
        due
    }

    async fn repair(&self, key: Key, repair: Repair, now: Timestamp) {
        let request = match repair {
            Repair::Correlate => Request::Correlate {},
        };
        let asker = Asker {
            actor: "reconciler".into(),
            request_id: None,
        };
        match self
            .operations
            .submit(Submission {
                volume_id: key.0,
                request,
                asker,
                key: None,
            })
            .await
        {
            Ok(operation) => {
                tracing::info!(volume = ?key.0, operation = %operation.id, ?repair, "repair submitted");
                if let Some(standing) = self.standing.lock().get_mut(&key) {
                    let before = standing
                        .repaired
                        .as_ref()
                        .map_or(0, |repaired| repaired.before + 1);
                    standing.repaired = Some(Repaired {
                        operation: operation.id,
                        at: now,
                        before,
                    });
                }
            }
            Err(error) => tracing::info!(volume = ?key.0, %error, "repair not taken"),
        }
    }
}

async fn devices_changed(feed: &InventoryFeed, seen: &[crate::device::Disk]) {
    let far = tokio::time::Instant::now() + Duration::from_secs(3600);
    let _ = feed.wait_for(|now| (now.disks != seen).then_some(()), far).await;
}
