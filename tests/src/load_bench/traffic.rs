//! Events by the daemon's own API: leases taken and given back.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use volume_client::client::VolumedClient;
use volume_client::types::{LeaseAccess, LeasePurpose, NewLease, VolumeId};

/// How often a lease is taken or given back under steady traffic: ten events a second.
const EVERY: Duration = Duration::from_millis(100);

/// Takes and gives back leases on one volume.
#[derive(Clone)]
pub(super) struct Traffic {
    pub(super) client: VolumedClient,
    pub(super) volume: VolumeId,
}

/// Traffic that goes on.
pub(super) struct Steady {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Traffic {
    /// A lease is taken and given back: two events. `pause` lies between them.
    pub(super) async fn twice(&self, pause: impl AsyncFnOnce()) -> Result<()> {
        let new = NewLease {
            volume_id: self.volume,
            purpose: LeasePurpose::Inspection,
            access: LeaseAccess::Read,
            holder: "the load bench".to_owned(),
            detail: None,
            ttl_seconds: None,
        };
        let lease = self.client.take_lease(&new).await?.lease.id;
        pause().await;
        Ok(self.client.release_lease(lease).await?)
    }

    /// Events at a steady rate, until they are ended.
    pub(super) fn steady(&self) -> Steady {
        let (traffic, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut clock = interval(EVERY);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stopped.is_cancelled() {
                clock.tick().await;
                let pause = async || {
                    clock.tick().await;
                };
                traffic.twice(pause).await?;
            }
            Ok(())
        });
        Steady { stop, task }
    }
}

impl Steady {
    /// Ends it, with the lease given back.
    pub(super) async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}
