//! The ledger of the simulated cloud: which rules a call broke at the moment when it was sent.

use std::time::Duration;

use crate::cloud_state::{Job, LIFETIME, OWN_VM, Order, Stage};
use crate::world::State;

/// What the daemon did not know yet it cannot be blamed for.
const GRACE: Duration = Duration::from_secs(12);

impl State {
    pub(crate) fn judge(&mut self, id: &str, volume: &str, order: &Order, now: Duration) {
        let live = |job: &&Job| {
            job.volume == volume
                && match job.stage {
                    Stage::Travelling => now < job.made + LIFETIME,
                    Stage::Running => true,
                    Stage::Ended(_) => false,
                }
        };
        if let Some(job) = self.cloud.jobs.values().find(live) {
            let text = format!(
                "{order:?} {volume} was sent while {:?} may land or is being done",
                job.order
            );
            self.violated(text);
        }
        if self.cloud.jobs.contains_key(id) {
            self.violated(format!("call id {id} was used twice"));
        }
        let disk = self.kernel.of_volume(volume);
        let is_here = disk.is_some_and(|disk| now > disk.since + GRACE);
        let is_used = disk.is_some_and(|disk| disk.opened.is_some_and(|since| now > since + GRACE));
        let Some(known) = self.cloud.volumes.get(volume) else {
            return;
        };
        let is_settled = now > known.changed + GRACE;
        let is_own = known.attached.as_deref() == Some(OWN_VM);
        let is_worked_on = known.worked_on.is_some_and(|since| now > since + GRACE);
        let broken = match order {
            _ if is_worked_on => Some("the cloud is at work on"),
            Order::Attach(_) if is_settled && is_own => Some("is attached already"),
            Order::Attach(_) if is_here && !is_own => Some("is plugged in, though detached"),
            Order::Detach(_) if is_settled && known.attached.is_none() => Some("is detached already"),
            Order::Detach(_) if is_used => Some("is in use"),
            Order::Delete | Order::Revert(_) if is_here => Some("is plugged in here"),
            Order::Delete if self.cloud.born.contains(volume) && !self.cloud.condemned.contains(volume) => {
                Some("was never ordered to be deleted")
            }
            _ => None,
        };
        if let Some(broken) = broken {
            self.violated(format!("{order:?} was sent for {volume}, which {broken}"));
        }
    }
}
