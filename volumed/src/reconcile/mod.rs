//! The reconciler: looks at what the cloud, the kernel and the records say, finds where they do not agree, and has mended
//! what is surely safe, by the operations that are there for it.
//!
//! One path: it takes no input, is woken by a change of the devices, by an event or by a timer, and does the same thing
//! each time. It never touches a volume that has an operation under way, and it changes nothing in the cloud itself: what the
//! cloud has and no record is of is shown, and never deleted.

mod explain;
mod finding;
mod observe;
mod orders;
mod plan;
mod proof;
mod standing;
mod strays;
mod truth;
mod users;
mod uses;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use volume_client::types::{Finding, FindingRepair, PlannedRepair, ReconcileReport, RepairStatus};

use crate::cloud::Cloud;
use crate::device::{InventoryFeed, Machine};
use crate::model::{EventKind, FindingId, Request, volume_of_cloud_name};
use crate::operation::{OperationError, Operations, Submission};
use crate::store::{self, Asker, IgnoredRecord, Store, StoreError};

pub use explain::Explained;
pub use finding::{Bounds, name as kind_name};
pub use observe::Seen;
pub use orders::Repaired;

use finding::Disagreement;
use plan::Views;
use proof::Proofs;
use standing::{Notice, Plan, Standing};
use users::Users;

/// Who orders the repairs that nobody asked for.
const ACTOR: &str = "reconciler";

/// What the reconciler works with.
pub struct Parts {
    /// The records.
    pub store: Store,
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// What the watcher publishes of the kernel.
    pub feed: InventoryFeed,
    /// The machine whose disks they are.
    pub machine: Arc<dyn Machine>,
    /// The door to every change.
    pub operations: Operations,
    /// How long something must stand before it is shown.
    pub bounds: Bounds,
    /// How often it looks where nothing gives a reason to.
    pub timer: Duration,
}

/// Compares the three views again and again.
pub struct Reconciler {
    of: Parts,
    users: Users,
    standing: Mutex<Standing>,
    proofs: Mutex<Proofs>,
    /// One comparison at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Where records, cloud and kernel do not agree at this moment, for those who examine and change nothing: what an operation is
/// under way on is left out, and who uses a device is not looked at. Blocks.
///
/// # Errors
/// Where the records cannot be read.
pub fn compare(seen: &Seen, conn: &rusqlite::Connection) -> Result<Vec<Finding>, StoreError> {
    let (now, install) = (Timestamp::now(), store::meta::get(conn, "install_id")?);
    let records = observe::Records::read(conn, &seen.references())?;
    let named_by_us = |name: &str| volume_of_cloud_name(install.as_deref()?, name);
    let views = observe::beside(seen, &records, named_by_us, now);
    let mut standing = Standing::default();
    standing.note(plan::disagreements(&views), &plan::undecided(&views), now);
    Ok(standing.all(&[]))
}

/// What a comparison is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is due is begun, and people are told.
    Mend,
    /// Nothing is begun, and nothing recorded.
    Look,
}

impl Reconciler {
    /// A reconciler that has not looked yet.
    #[must_use]
    pub fn new(of: Parts) -> Arc<Self> {
        let every = Duration::try_from(of.bounds.uses_every).unwrap_or_default();
        Arc::new(Self {
            users: Users::new(Arc::clone(&of.machine), every),
            of,
            standing: Mutex::default(),
            proofs: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// What does not agree at present, and has stood for long enough to be shown.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub async fn findings(&self) -> Result<Vec<Finding>, StoreError> {
        let ignored = self.ignored().await?;
        Ok(self
            .standing
            .lock()
            .shown(self.of.store.now(), &self.of.bounds, &ignored))
    }

    async fn ignored(&self) -> Result<Vec<IgnoredRecord>, StoreError> {
        self.of.store.read(store::ignored::all).await
    }

    fn sources(&self) -> observe::Sources<'_> {
        observe::Sources {
            store: &self.of.store,
            cloud: &*self.of.cloud,
            feed: &self.of.feed,
            operations: &self.of.operations,
            users: &self.users,
        }
    }

    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.of.store.event_ids();
        loop {
            let seen = self.of.feed.latest();
            if let Err(error) = self.compare(Mode::Mend).await {
                tracing::warn!(%error, "reconciling failed; it is tried again");
            }
            // A short breath: a burst of events is one reason to look, not many.
            let breath = tokio::time::sleep(Duration::from_millis(500));
            tokio::select! {
                () = stop.cancelled() => return,
                () = breath => {}
            }
            let soon = self
                .standing
                .lock()
                .next_look(self.of.store.now(), &self.of.bounds, self.of.timer);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(soon) => {}
                changed = events.changed() => if changed.is_err() { return },
                () = devices_changed(&self.of.feed, &seen.disks) => {}
            }
        }
    }

    /// Compares the views once. With [`Mode::Mend`] begins what is due.
    ///
    /// # Errors
    /// Where the records cannot be read; nothing is concluded then.
    pub async fn compare(&self, mode: Mode) -> Result<ReconcileReport, StoreError> {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        let views = observe::views(&self.sources()).await?;
        let ignored = self.ignored().await?;
        let now = self.of.store.now();
        let (plans, notices) = {
            let mut standing = self.standing.lock();
            standing.note(plan::disagreements(&views), &plan::undecided(&views), now);
            let notices = match mode {
                Mode::Mend => standing.take_notices(now, &self.of.bounds, &ignored),
                Mode::Look => Vec::new(),
            };
            (standing.plans(now, &self.of.bounds, &ignored), notices)
        };
        self.of.operations.note_comparison(began.elapsed());
        self.tell(notices).await?;
        if mode == Mode::Mend {
            self.prove(&views, now).await?;
        }
        let mut repairs = Vec::new();
        for (id, disagreement, repair, plan) in plans {
            let mut planned = PlannedRepair {
                finding_id: id.clone(),
                volume_id: disagreement.volume_id(),
                repair,
                status: RepairStatus::Due,
                operation_id: None,
                message: disagreement.advice.clone(),
            };
            match plan {
                Plan::Waits(why) => (planned.status, planned.message) = (RepairStatus::Waits, why),
                Plan::Due if mode == Mode::Look => {}
                Plan::Due => self.mend(&id, &disagreement, now, &mut planned).await,
            }
            repairs.push(planned);
        }
        Ok(ReconcileReport {
            dry_run: mode == Mode::Look,
            cloud_answered: views.cloud_answered,
            findings: self.standing.lock().all(&ignored),
            repairs,
        })
    }

    /// Has the volumes of a restored database proven of which cloud and kernel have said the same for a while.
    async fn prove(&self, views: &Views, now: Timestamp) -> Result<(), StoreError> {
        let waiting = self.of.operations.unproven().await?;
        let due = self.proofs.lock().note(views, &waiting, now);
        for (volume, seen) in due {
            self.of.operations.prove(volume, seen).await?;
        }
        Ok(())
    }

    /// Begins a repair, and notes in `planned` what came of it.
    async fn mend(&self, id: &FindingId, of: &Disagreement, now: Timestamp, planned: &mut PlannedRepair) {
        let begun = match (planned.repair, of.volume_id()) {
            (FindingRepair::Correlate, volume_id) => {
                let asker = Asker {
                    actor: ACTOR.into(),
                    request_id: None,
                };
                let submission = Submission {
                    volume_id,
                    request: Request::Correlate {},
                    asker,
                    key: None,
                };
                let submitted = self.of.operations.submit(submission).await;
                submitted.map(|operation| Some(operation.id))
            }
            (FindingRepair::EndLeases, Some(volume)) => {
                let ended = self.of.operations.end_abandoned_leases(volume, ACTOR).await;
                ended.map(|()| None)
            }
            // Only when a person orders it.
            (FindingRepair::Attach | FindingRepair::Adopt | FindingRepair::EndLeases, _) => return,
        };
        match begun {
            Ok(operation) => {
                tracing::info!(finding = %id, volume = ?of.volume_id(), ?operation, repair = ?planned.repair, "repair begun");
                (planned.status, planned.operation_id) = (RepairStatus::Begun, operation);
                self.standing.lock().tried(id, now, operation);
            }
            Err(error) => {
                tracing::info!(finding = %id, volume = ?of.volume_id(), %error, "repair not taken");
                (planned.status, planned.message) = (RepairStatus::Refused, error.to_string());
                // Evidence that was not there is worth looking at again, but not at once.
                if matches!(error, OperationError::Refused { .. })
                    && planned.repair == FindingRepair::EndLeases
                {
                    self.standing.lock().tried(id, now, None);
                }
            }
        }
    }

    /// Tells people what has appeared and what has gone: a line in the log and an event each.
    async fn tell(&self, notices: Vec<Notice>) -> Result<(), StoreError> {
        if notices.is_empty() {
            return Ok(());
        }
        for notice in &notices {
            let (id, of) = (&notice.id, &notice.disagreement);
            let (kind, about) = (finding::name(of.kind), of.about());
            match notice.is_gone {
                true => tracing::info!(finding = %id, kind, about, "views agree again"),
                false => tracing::warn!(finding = %id, kind, about, record = of.record, cloud = of.cloud,
                    kernel = of.kernel, "views do not agree"),
            }
        }
        let recorded = self.of.store.write(move |tx| {
            for notice in notices {
                let of = &notice.disagreement;
                let data = serde_json::json!({
                    "finding_id": notice.id,
                    "type": finding::name(of.kind),
                    "about": of.about(),
                    "what": if notice.is_gone { "gone" } else { "appeared" },
                });
                store::events::append(tx, EventKind::Finding, of.volume_id(), None, &data)?;
            }
            Ok::<_, StoreError>(())
        });
        recorded.await
    }
}

async fn devices_changed(feed: &InventoryFeed, seen: &[crate::device::Disk]) {
    let far = tokio::time::Instant::now() + Duration::from_secs(3600);
    let _ = feed.wait_for(|now| (now.disks != seen).then_some(()), far).await;
}
