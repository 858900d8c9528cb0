//! The examination of everything that the daemon needs around it: all areas at once, each in bounded time, nothing changed.

mod clock;
mod database;
mod doors;
mod exporters;
mod privilege;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use volume_client::types::{CheckArea, CheckStatus, DoctorCheck, DoctorReport};

use crate::cloud::Cloud;
use crate::device::{InventoryFeed, SysRoot, examine_disks, examine_watcher};
use crate::model::{self, Check};

pub use database::examine as examine_database;
pub use doors::{Doors, certificate, loopback};

/// How long one area may take. A client waits a minute for them all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a fresh inventory may take; scans take milliseconds.
const SCAN: Duration = Duration::from_secs(5);
/// udev makes its links about so late at most; what is wrong with them after that stays wrong.
const LINKS_LATE: Duration = Duration::from_secs(1);

/// Examines what the daemon has at hand while it runs.
#[derive(Clone)]
pub struct Doctor {
    /// The provider.
    pub cloud: Arc<dyn Cloud>,
    /// The inventories of the daemon's watcher.
    pub feed: InventoryFeed,
    /// The database.
    pub database: PathBuf,
    /// How callers over TCP are met.
    pub doors: Doors,
}

impl Doctor {
    /// Examines cloud, devices, host and doors. Takes some seconds, half a minute at most.
    pub async fn examine(&self) -> Vec<DoctorCheck> {
        let (cloud, devices, host) = tokio::join!(
            within(CheckArea::Cloud, self.cloud.diagnose()),
            within(CheckArea::Devices, devices(&self.feed)),
            within(CheckArea::Host, host(Some(&self.database))),
        );
        let doors = self.doors.examine().into_iter();
        let doors = doors.map(|check| told(CheckArea::Daemon, check)).collect();
        [cloud, devices, host, doors].concat()
    }
}

/// The checks of an area, or a failed one where they take too long.
pub async fn within(area: CheckArea, checks: impl Future<Output = Vec<Check>>) -> Vec<DoctorCheck> {
    let checks = timeout(PATIENCE, checks).await.unwrap_or_else(|_| {
        let seen = format!("not examined within {} s", PATIENCE.as_secs());
        vec![Check::failed(
            "time",
            seen,
            "something that was asked does not answer; the daemon's log may say what",
        )]
    });
    checks.into_iter().map(|check| told(area, check)).collect()
}

/// The report that these checks make.
#[must_use]
pub fn report(checks: Vec<DoctorCheck>) -> DoctorReport {
    DoctorReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        examined_at: Timestamp::now(),
        checks,
    }
}

/// Examines the disks, and the watcher that sees them.
pub async fn devices(feed: &InventoryFeed) -> Vec<Check> {
    let mut checks = examine_watcher(feed.stats());
    let looks_well = |checks: &[Check]| {
        checks
            .iter()
            .all(|check| check.status != model::CheckStatus::Failed)
    };
    match disks(feed).await {
        Ok(disks) if looks_well(&disks) => checks.extend(disks),
        // A disk that has just come or gone has its links a moment later.
        Ok(_) => {
            tokio::time::sleep(LINKS_LATE).await;
            checks.extend(disks(feed).await.unwrap_or_else(|failed| vec![failed]));
        }
        Err(failed) => checks.push(failed),
    }
    checks
}

async fn disks(feed: &InventoryFeed) -> Result<Vec<Check>, Check> {
    const NAME: &str = "disks";
    let fresh = feed.rescan(Instant::now() + SCAN).await;
    let inventory = fresh.map_err(|error| {
        Check::failed(
            NAME,
            error.to_string(),
            "a disk does not answer: the kernel's log (`dmesg`) names it",
        )
    })?;
    let examined = tokio::task::spawn_blocking(move || examine_disks(&SysRoot::default(), &inventory));
    examined.await.map_err(|panic| defect(NAME, &panic))
}

/// Examines the rest of the machine; `database` is `None` where it is not known.
pub async fn host(database: Option<&Path>) -> Vec<Check> {
    let database = database.map(Path::to_owned);
    let blocking = tokio::task::spawn_blocking(move || {
        let mut checks = vec![privilege::privilege(), clock::clock()];
        checks.extend(database.map(|path| database::room(&path)));
        checks
    });
    let (blocking, exporters) = tokio::join!(blocking, exporters::exporters());
    let mut checks = blocking.unwrap_or_else(|panic| vec![defect("host", &panic)]);
    checks.extend(exporters);
    checks
}

fn defect(name: &str, panic: &tokio::task::JoinError) -> Check {
    Check::failed(
        name,
        format!("examining failed: {panic}"),
        "this is a defect of volumed; please report it",
    )
}

/// A check as the API tells it.
#[must_use]
pub fn told(area: CheckArea, check: Check) -> DoctorCheck {
    DoctorCheck {
        area,
        name: check.name,
        status: match check.status {
            model::CheckStatus::Passed => CheckStatus::Passed,
            model::CheckStatus::Warning => CheckStatus::Warning,
            model::CheckStatus::Failed => CheckStatus::Failed,
        },
        seen: check.seen,
        advice: check.advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_answers_is_a_failed_check() {
        let checks = within(CheckArea::Cloud, std::future::pending()).await;
        assert_eq!(checks.len(), 1);
        assert_eq!(
            (checks[0].area, checks[0].status),
            (CheckArea::Cloud, CheckStatus::Failed)
        );
        assert!(checks[0].seen.contains("30 s"), "{checks:?}");
    }
}
