//! How much of the machine the daemon has: open files and devices, sockets, threads.

use std::fs;
use std::time::Duration;

use super::seen_within;
use crate::CloudSite;

/// So many files or devices more than at the start are nothing: connections to the database that wait for readers, four at
/// most with two files each, and a file that is being read at this moment.
const MORE_FILES: usize = 10;

/// So many sockets more are nothing: idle connections to the cloud, kept for one and a half minutes, at most as many as
/// operations run at once, and a few of callers.
const MORE_SOCKETS: usize = 14;

/// So many threads more are nothing: those of the pool for blocking work, which is as large as there was work at once, and
/// does not shrink while there is some now and then.
const MORE_THREADS: usize = 16;

/// Longer than threads and connections of callers stay that have nothing to do.
const COMING_TO_REST: Duration = Duration::from_secs(40);

/// What the daemon has open, and its threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    files: usize,
    sockets: usize,
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
            let entries = fs::read_dir(format!("/proc/{}/{what}", site.daemon.pid()));
            entries.unwrap().flatten()
        };
        let open = entries("fd").filter_map(|entry| fs::read_link(entry.path()).ok());
        let (sockets, files): (Vec<_>, Vec<_>) =
            open.partition(|target| target.to_string_lossy().starts_with("socket:"));
        Self {
            files: files.len(),
            sockets: sockets.len(),
            threads: entries("task").count(),
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
        self.files <= before.files + MORE_FILES
            && self.sockets <= before.sockets + MORE_SOCKETS
            && self.threads <= before.threads + MORE_THREADS
    }
}
