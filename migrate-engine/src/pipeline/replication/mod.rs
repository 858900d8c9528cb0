//! A replication job from its record to its end: seven steps, in order, each recorded before it is taken and after.
//!
//! ```text
//! job recorded ─► disks analysed ─► volumes provisioned ─► attached, correlated ─► exported ─► frozen, bytes move ─► followed to the end
//!                 (fresh discovery)  (the disk's, or new)    (leased, proven)                    (mode per disk)       (flushed, compared, marks kept)
//! ```
//!
//! On every way out what was taken is given back, the last first: exports withdrawn, devices closed, volumes detached, the
//! snapshot removed. Killed at any moment, the next attempt of the same job takes the same steps: it finds the same volumes
//! and the same snapshot, and goes on inside of each disk where its journal says so.

mod allocate;
mod choice;
mod deliver;
mod desk;
mod dispatch;
mod error;
mod lane;
mod leftovers;
mod steps;
mod tally;
mod transfer;

use std::sync::Arc;

use volume_client::VolumedClient;
use volume_client::client::RequestId;
use volume_client::types::Status;

use crate::block::Cancel;
use crate::config::ReplicationSettings;
use crate::model::{MachineSpec, Step};
use crate::source::{Cycle, Source};
use crate::store::{JobRow, Run, Store, Turn};
use crate::target::Exports;
use crate::transfer::RateLimit;

use super::Board;
use lane::Lane;
use steps::Steps;

pub use desk::{Desk, Refusal, Request};
pub use dispatch::Dispatcher;
pub use error::ReplicationError;

/// What replications are done with.
pub struct Replicator {
    /// The daemon.
    pub client: VolumedClient,
    /// The engine's records.
    pub store: Arc<Store>,
    /// This run of the engine, as whose exports are recorded.
    pub run: Run,
    /// How they go.
    pub settings: ReplicationSettings,
    /// Who is told of transfers.
    pub board: Board,
    /// The cap that all of them share.
    pub rate: RateLimit,
}

/// One attempt at a job.
struct Attempt<'a> {
    replicator: &'a Replicator,
    /// The daemon, which hears of this attempt by its name.
    client: VolumedClient,
    job: &'a JobRow,
    turn: &'a Turn,
    source: &'a dyn Source,
    machine: MachineSpec,
    cycle: Cycle,
    rate: RateLimit,
    cancel: &'a Cancel,
}

impl Replicator {
    /// Takes the steps of a job. Whatever comes of it, what was taken for it is given back, as far as that can be done; the
    /// next attempt takes up what could not.
    ///
    /// # Errors
    /// Why it did not get to its end; [`ReplicationError::is_final`] says whether trying again makes sense.
    pub async fn attempt(
        &self,
        job: &JobRow,
        turn: &Turn,
        source: &dyn Source,
        cancel: &Cancel,
    ) -> Result<(), ReplicationError> {
        let steps = Steps {
            store: &self.store,
            turn,
        };
        steps.take(Step::JobRecord, async { Ok(()) }).await?;
        let context = self.store.context(job.context)?.ok_or_else(|| {
            let job = job.id.clone();
            ReplicationError::Store(crate::store::StoreError::Lost { job })
        })?;
        let analysing = async {
            let machine = source.machine(&context.vm_id, None).await?;
            let known = serde_json::to_string(&machine).expect("a machine has only strings and numbers");
            self.store.describe(job.context, &known)?;
            Ok(machine)
        };
        let client = self.client.with_request_id(request_id(&turn.job));
        let status = client.status().await.map_err(ReplicationError::Daemon)?;
        let machine = steps.take(Step::DisksAnalysed, analysing).await?;
        let attempt = Attempt {
            replicator: self,
            client,
            job,
            turn,
            source,
            cycle: Cycle {
                name: job.id.clone(),
                owner: owner(&status),
            },
            rate: self.rate.share(),
            machine,
            cancel,
        };
        let mut lanes = attempt.lanes(&format!("{}@{}", context.vm_name, context.vcenter_host))?;
        attempt.run(&mut lanes, steps).await
    }
}

impl Attempt<'_> {
    async fn run(&self, lanes: &mut [Lane], steps: Steps<'_>) -> Result<(), ReplicationError> {
        steps
            .take(Step::VolumesProvisioned, self.provision(lanes))
            .await?;
        let exports = Exports::connect(&self.replicator.settings.export).await?;
        let moved = self.attach_and_move(lanes, &exports, steps).await;
        let given_back = self.give_back(lanes, &exports).await;
        if let Err(error) = exports.stop_if_idle().await {
            tracing::warn!(%error, "the NBD server goes on");
        }
        moved.and(given_back)
    }

    async fn attach_and_move(
        &self,
        lanes: &mut [Lane],
        exports: &Exports,
        steps: Steps<'_>,
    ) -> Result<(), ReplicationError> {
        steps.take(Step::VolumesAttached, self.attach(lanes)).await?;
        steps.take(Step::NbdExports, self.publish(lanes, exports)).await?;
        let frozen = steps.take(Step::TransferStarted, self.freeze(lanes)).await?;
        let followed = steps
            .take(Step::TransferFollowed, self.follow(lanes, &*frozen))
            .await;
        for lane in lanes.iter_mut() {
            lane.reader = None;
        }
        if let Err(error) = &followed
            && self.will_go_on(error)?
        {
            return followed;
        }
        // A snapshot grows as long as it is there: it goes before everything else.
        let released = frozen.release().await.map_err(ReplicationError::from);
        followed.and(released)
    }

    /// Whether the next attempt is to find the same frozen content, so that it goes on inside of each disk. Whoever gives the
    /// job up instead cleans up.
    fn will_go_on(&self, error: &ReplicationError) -> Result<bool, ReplicationError> {
        let job = self.replicator.store.job(&self.job.id)?;
        let is_wanted = job.is_some_and(|job| !job.cancel_requested);
        Ok(is_wanted && (error.is_cancelled() || !error.is_final()))
    }

    /// Whether somebody wants it stopped: looked for between two things that cannot be interrupted.
    fn go_on(&self) -> Result<(), ReplicationError> {
        match self.cancel.is_cancelled() {
            true => Err(ReplicationError::Cancelled),
            false => Ok(()),
        }
    }
}

/// By what the daemon hears of a job.
fn request_id(job: &str) -> RequestId {
    job.parse()
        .expect("a job's id has letters, digits and dashes, and is short")
}

/// Whose snapshots are ours: those of this appliance.
fn owner(status: &Status) -> String {
    format!("migrate-engine of {}", status.vm_id)
}
