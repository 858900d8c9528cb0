//! Where the soak plays: the site as everybody in it sees it, and which volumes there are.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;
use volume_client::client::VolumedClient;
use volume_client::types::VolumeId;

use super::evidence::Deed;
use super::tally::Tally;
use super::{Plan, seen_within};
use crate::LoopHypervisor;
use crate::cloudstack::{CloudStackServer, Stranger};

/// What everybody in the soak works with.
pub(super) struct Scene<'a> {
    pub(super) client: VolumedClient,
    pub(super) cloud: &'a CloudStackServer,
    pub(super) hypervisor: &'a LoopHypervisor,
    pub(super) tally: Tally,
    /// The volumes of all lanes: ours, and the cloud's id.
    pub(super) volumes: Mutex<BTreeMap<VolumeId, Uuid>>,
    /// What was done behind the daemon's back.
    pub(super) deeds: Mutex<Vec<Deed>>,
    cycles: u64,
    phase: watch::Sender<Phase>,
}

/// How far the soak is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Lanes do their cycles, and everything goes wrong.
    Disturbed,
    /// Nothing goes wrong any more; what did is put right.
    Settling,
    /// Everything is detached.
    Over,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        client: VolumedClient,
        cloud: &'a CloudStackServer,
        hypervisor: &'a LoopHypervisor,
        plan: &Plan,
    ) -> Self {
        Self {
            client,
            cloud,
            hypervisor,
            tally: Tally::default(),
            volumes: Mutex::default(),
            deeds: Mutex::default(),
            cycles: plan.cycles,
            phase: watch::Sender::new(Phase::Disturbed),
        }
    }

    /// Takes one of the cycles that are left; `false` where none is. Tells now and then how far the soak is.
    pub(super) fn take_cycle(&self) -> bool {
        let mut taken = None;
        self.tally.count(|figures| {
            if figures.cycles < self.cycles {
                figures.cycles += 1;
                taken = Some(figures.cycles);
            }
        });
        if let Some(number) = taken.filter(|number| number % 100 == 0) {
            eprintln!("cycle {number} of {}", self.cycles);
        }
        taken.is_some()
    }

    /// The VM that everything is attached to.
    pub(super) fn vm(&self) -> Uuid {
        self.cloud.vm_id()
    }

    pub(super) fn stranger(&self) -> Stranger {
        self.cloud.stranger()
    }

    /// Tells everybody that the next phase has come.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Whether this phase or a later one has come.
    pub(super) fn has_come(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// Waits this long, or until this phase has come.
    pub(super) async fn idle_until(&self, phase: Phase, time: Duration) {
        let mut watched = self.phase.subscribe();
        // The sender is ours and lives as long as this call.
        let _ = tokio::time::timeout(time, watched.wait_for(|now| *now >= phase)).await;
    }

    /// The cloud's id of a volume of ours, which has one since it was created.
    pub(super) async fn cloud_id(&self, id: VolumeId) -> Option<Uuid> {
        let record = seen_within(Duration::from_secs(90), async || {
            self.client.volume(id).await.ok()
        })
        .await?;
        record.provider_volume_id?.parse().ok()
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }
}
