//! The examination without a daemon: by the configuration alone, beside whatever daemon runs, nothing taken over.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use volume_client::types::{CheckArea, DoctorCheck, DoctorReport};

use super::parts::open_cloud;
use crate::cloud::LocalCloud;
use crate::config::{Config, ConfigError, Provider};
use crate::device::{SysRoot, Watcher, WatcherConfig, examine_disks, scan};
use crate::doctor::{self, told, within};
use crate::model::Check;

/// Examines what a daemon with this configuration would meet. Problems of the configuration are failed checks; cloud and
/// database are then left out. Works although another daemon runs, and changes nothing.
pub async fn examine(config: Result<Config, ConfigError>) -> DoctorReport {
    let config = match config {
        Ok(config) => config,
        Err(error) => return doctor::report(unconfigured(&error).await),
    };
    let (cloud, devices, host, daemon) = tokio::join!(
        within(CheckArea::Cloud, cloud(&config)),
        within(CheckArea::Devices, devices()),
        within(CheckArea::Host, doctor::host(Some(&config.database))),
        within(CheckArea::Daemon, daemon(&config)),
    );
    doctor::report([cloud, devices, host, daemon].concat())
}

async fn unconfigured(error: &ConfigError) -> Vec<DoctorCheck> {
    let (devices, host) = tokio::join!(
        within(CheckArea::Devices, devices()),
        within(CheckArea::Host, doctor::host(None)),
    );
    let problems = error.problems.iter().map(|problem| {
        let advice = "correct it; `volumed check-config` reads it again, and volumed.toml of the documentation has every key";
        told(CheckArea::Daemon, Check::failed("configuration", problem.to_string(), advice))
    });
    [devices, host, problems.collect()].concat()
}

/// The provider's own view. The embedded one belongs to one process at a time, so it is looked at from outside.
async fn cloud(config: &Config) -> Vec<Check> {
    if config.provider == Provider::Local {
        let root = config.local.root.clone();
        let examined = tokio::task::spawn_blocking(move || LocalCloud::examine(&root)).await;
        return examined.unwrap_or_else(|panic| vec![cannot("examine the provider", &panic)]);
    }
    match open_cloud(config).await {
        Ok(cloud) => cloud.diagnose().await,
        Err(error) => vec![cannot("open the provider", &error)],
    }
}

/// A watcher for a moment: it meets what the daemon's would meet.
async fn devices() -> Vec<Check> {
    let started = tokio::task::spawn_blocking(|| Watcher::start(WatcherConfig::default())).await;
    let (watcher, feed) = match started {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => return without_watcher(cannot("watch devices", &error)).await,
        Err(panic) => return vec![cannot("watch devices", &panic)],
    };
    let checks = doctor::devices(&feed).await;
    let stopped = tokio::task::spawn_blocking(move || watcher.stop()).await;
    if let Err(panic) = stopped {
        tracing::warn!(%panic, "stopping the device watcher");
    }
    checks
}

async fn without_watcher(failed: Check) -> Vec<Check> {
    let disks = tokio::task::spawn_blocking(|| {
        let root = SysRoot::default();
        scan(&root)
            .map(|inventory| examine_disks(&root, &inventory))
            .unwrap_or_default()
    });
    let mut checks = vec![failed];
    checks.extend(disks.await.unwrap_or_default());
    checks
}

/// What would keep a daemon from starting.
async fn daemon(config: &Config) -> Vec<Check> {
    let (database, socket) = (config.database.clone(), config.socket.clone());
    let examined = tokio::task::spawn_blocking(move || {
        let mut checks = vec![
            Check::passed("configuration", "every key has a value that it takes"),
            doctor::examine_database(&database),
        ];
        checks.extend(socket.map(|path| answers(&path)));
        checks
    });
    examined
        .await
        .unwrap_or_else(|panic| vec![cannot("examine the daemon's files", &panic)])
}

/// Whether somebody listens on the socket; either is well.
fn answers(socket: &Path) -> Check {
    const NAME: &str = "socket";
    let path = socket.display();
    match UnixStream::connect(socket) {
        Ok(_) => Check::passed(NAME, format!("a daemon listens on {path}")),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Check::passed(NAME, format!("no daemon listens on {path}"))
        }
        Err(error) => {
            let seen = format!("{path} cannot be reached: {error}");
            Check::failed(NAME, seen, "is the file a socket, and may you use it?")
        }
    }
}

fn cannot(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Check {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    Check::failed(
        what,
        causes.join(": "),
        "the daemon would not start: it needs this",
    )
}
