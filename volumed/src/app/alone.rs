//! The examination without a daemon: by the configuration alone, beside whatever daemon runs, nothing taken over.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use volume_client::types::{CheckArea, DoctorCheck, DoctorReport};

use super::parts::watcher_config;
use crate::cloud::{CloudStack, LocalCloud};
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
        within(CheckArea::Devices, devices(watcher_config(config.devices))),
        within(CheckArea::Host, doctor::host(Some(&config.database))),
        within(CheckArea::Daemon, daemon(&config)),
    );
    doctor::report([cloud, devices, host, daemon].concat())
}

async fn unconfigured(error: &ConfigError) -> Vec<DoctorCheck> {
    let (devices, host) = tokio::join!(
        within(CheckArea::Devices, devices(WatcherConfig::default())),
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
    match config.provider {
        Provider::Local => {
            let root = config.local.root.clone();
            let examined = tokio::task::spawn_blocking(move || LocalCloud::examine(&root)).await;
            examined.unwrap_or_else(|panic| vec![cannot("examine the provider", &panic)])
        }
        Provider::CloudStack => {
            let settings = config.cloudstack.as_ref().expect("read where it is the provider");
            CloudStack::examine(settings).await
        }
    }
}

/// A watcher for a moment: it meets what the daemon's would meet.
async fn devices(watching: WatcherConfig) -> Vec<Check> {
    let started = tokio::task::spawn_blocking(|| Watcher::start(watching)).await;
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
    let (database, path) = (config.database.clone(), config.socket.clone());
    let (listen, http) = (config.listen, config.http.clone());
    let examined = tokio::task::spawn_blocking(move || {
        let mut checks = vec![
            Check::passed("configuration", "every key has a value that it takes"),
            doctor::examine_database(&database),
        ];
        checks.extend(path.map(|path| socket(&path)));
        checks.extend(doctor::loopback(listen.as_slice(), http.needs_token()));
        checks.extend(http.tls.map(|tls| doctor::certificate(tls.files, tls.clients)));
        checks
    });
    examined
        .await
        .unwrap_or_else(|panic| vec![cannot("examine the daemon's files", &panic)])
}

/// Whether somebody listens on the socket; either is well. It is looked up, not tried: where the service manager listens, a
/// connection would start the daemon.
fn socket(path: &Path) -> Check {
    const NAME: &str = "socket";
    let shown = path.display();
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        let seen = format!("{shown} is no socket");
        return Check::failed(NAME, seen, "name another `socket`, or take that file away");
    }
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    match sockets.lines().any(|line| is_listener(line, path)) {
        true => Check::passed(
            NAME,
            format!("a daemon, or the service manager for it, listens on {shown}"),
        ),
        false => Check::passed(NAME, format!("no daemon listens on {shown}")),
    }
}

/// Whether a line of `/proc/net/unix` (`proc_pid_net(5)`) is a socket at this path that takes connections.
fn is_listener(line: &str, path: &Path) -> bool {
    const TAKES_CONNECTIONS: &str = "00010000"; // `__SO_ACCEPTCON`
    let mut words = line.split_whitespace();
    words.nth(3) == Some(TAKES_CONNECTIONS) && words.nth(3).is_some_and(|found| Path::new(found) == path)
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::model::CheckStatus;

    #[test]
    fn a_listener_is_seen_without_being_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(socket(&path).seen.starts_with("no daemon listens"));
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let check = socket(&path);
        assert_eq!(check.status, CheckStatus::Passed);
        assert!(check.seen.starts_with("a daemon, or"), "{check:?}");
        assert!(listener.accept().is_err(), "nobody has connected");
        drop(listener);
        assert!(
            socket(&path).seen.starts_with("no daemon listens"),
            "its file is left"
        );
    }
}
