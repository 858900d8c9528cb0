//! How much of the machine the daemon has: descriptors and threads.

use std::time::Duration;

use super::seen_within;
use crate::CloudSite;

/// So many more than at the start are nothing: a connection that is still open, a thread that is about to end.
const SLACK: usize = 6;

/// Longer than threads and connections stay that have nothing to do.
const COMING_TO_REST: Duration = Duration::from_secs(40);

/// Descriptors and threads of the daemon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    descriptors: usize,
    threads: usize,
}

impl Footprint {
    /// What the site's daemon has when it is ready and was asked something.
    pub(super) async fn of(site: &CloudSite) -> Self {
        site.daemon.client().status().await.unwrap();
        Self::now(site)
    }

    fn now(site: &CloudSite) -> Self {
        let entries = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{}/{what}", site.daemon.pid()));
            entries.unwrap().count()
        };
        Self {
            descriptors: entries("fd"),
            threads: entries("task"),
        }
    }

    /// Waits until the daemon has no more than this.
    ///
    /// # Errors
    /// What it still has when it had time to come to rest.
    pub(super) async fn is_kept(self, site: &CloudSite) -> Result<(), String> {
        let rested = async || Self::now(site).fits(self).then_some(());
        match seen_within(COMING_TO_REST, rested).await {
            Some(()) => Ok(()),
            None => Err(format!(
                "the daemon had {self:?} at the start and has {:?}",
                Self::now(site)
            )),
        }
    }

    fn fits(self, before: Self) -> bool {
        self.descriptors <= before.descriptors + SLACK && self.threads <= before.threads + SLACK
    }
}
