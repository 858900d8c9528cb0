//! The default exporter: one qemu-storage-daemon, driven over QMP, shared by every process that exports; and one more for
//! each export with an allow-list, for qemu has one list for all exports of a process.
//!
//! All state lives in the daemon: which export serves which device is read from its node names. Exports come and go
//! live, other connections never notice. The daemon belongs to no single caller: it runs in a session of its own
//! and survives the process that started it (a service manager that kills the whole control group ends it too).

mod confirm;
mod daemon;
mod daemons;
mod exports;
mod guard;
mod listen;
mod publish;
mod qmp;

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    ExportError, ExportName, ExportSpec, Exporter, Health, Idle, NbdAddress, NbdEndpoint, Published, Tls,
    Withdrawal, tls::check_listen,
};
use daemon::Daemon;
use daemons::Daemons;
pub use qmp::QmpError;

const BACKEND: &str = "qemu-storage-daemon";

/// Settings of the backend.
#[derive(Debug, Clone)]
pub struct QemuStorageDaemonConfig {
    /// The program; found along `PATH` if not absolute.
    pub program: PathBuf,
    /// Private directory (created with mode 0700) for QMP socket, lock, log and pid. Whoever names the same directory
    /// shares the daemon.
    pub runtime_dir: PathBuf,
    /// Where to listen; the same for everybody who shares the daemon. Anything but loopback and Unix sockets needs TLS.
    pub listen: NbdAddress,
    /// How connections are encrypted, and who may connect at all.
    pub tls: Option<Tls>,
    /// Ports of exports that have an allow-list, one each, on the same address. On Unix sockets a number is appended to the path
    /// instead.
    pub own_ports: RangeInclusive<u16>,
}

impl Default for QemuStorageDaemonConfig {
    fn default() -> Self {
        Self {
            program: BACKEND.into(),
            runtime_dir: "/run/nbd-export/qemu-storage-daemon".into(),
            listen: NbdAddress::default(),
            tls: None,
            own_ports: 10810..=10873,
        }
    }
}

/// Handle on a (possibly shared) qemu-storage-daemon. Dropping it leaves the daemon and its exports alone.
#[derive(Debug, Clone)]
pub struct QemuStorageDaemon {
    daemons: Arc<Daemons>,
}

impl QemuStorageDaemon {
    /// Uses the daemon that answers in the runtime directory, or starts one; what a dead one left is replaced.
    pub async fn connect_or_start(config: QemuStorageDaemonConfig) -> Result<Self, ExportError> {
        check_listen(&config.listen, config.tls.as_ref())?;
        let exporter = Self::existing(config)?;
        exporter
            .command(async |daemons: Arc<Daemons>| daemons.shared.ensure(None).await.map(drop))
            .await?;
        Ok(exporter)
    }

    /// The daemons that may be there, for withdrawing what they serve: neither examines certificates nor starts anything, until
    /// something is published.
    pub fn existing(config: QemuStorageDaemonConfig) -> Result<Self, ExportError> {
        let daemons = Arc::new(Daemons::new(config)?);
        Ok(Self { daemons })
    }

    /// Process id of the shared daemon, if one is alive.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.daemons.shared.process().map(|process| process.pid())
    }

    /// Runs a command under the lock and to its end, even if the caller goes away.
    async fn command<T, F>(
        &self,
        work: impl FnOnce(Arc<Daemons>) -> F + Send + 'static,
    ) -> Result<T, ExportError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ExportError>> + Send,
    {
        let daemons = Arc::clone(&self.daemons);
        let task = async move {
            let _lock = daemons.shared.lock().await?;
            work(daemons).await
        };
        tokio::spawn(task).await.map_err(|_| ExportError::Interrupted)?
    }
}

#[async_trait]
impl Exporter for QemuStorageDaemon {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    async fn publish(&self, spec: ExportSpec) -> Result<Published, ExportError> {
        self.command(async move |daemons: Arc<Daemons>| publish::publish(&daemons, &spec).await)
            .await
    }

    async fn unpublish(&self, name: &ExportName, withdrawal: Withdrawal) -> Result<(), ExportError> {
        let name = name.clone();
        self.command(async move |daemons: Arc<Daemons>| {
            if let Some(own) = daemons.of(&name)? {
                return publish::unpublish_own(&own, &name, withdrawal).await;
            }
            let Some(mut qmp) = daemons.shared.connect().await? else {
                return Ok(());
            };
            exports::remove(&mut qmp, &name, withdrawal).await?;
            tracing::info!(%name, "export withdrawn");
            exports::sweep(&mut qmp).await
        })
        .await
    }

    async fn list(&self) -> Result<Vec<ExportName>, ExportError> {
        self.command(async |daemons: Arc<Daemons>| {
            let mut names = names(&daemons.shared).await?;
            for (_, own) in daemons.own()? {
                names.extend(self::names(&own).await?);
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    fn endpoint(&self, name: &ExportName) -> NbdEndpoint {
        match self.daemons.of(name) {
            Ok(Some(own)) => own.endpoint(name),
            _ => self.daemons.shared.endpoint(name),
        }
    }

    async fn health(&self) -> Result<Health, ExportError> {
        self.command(async |daemons: Arc<Daemons>| {
            let mut health = confirm::health(&daemons.shared).await?;
            for (_, own) in daemons.own()? {
                health = match (health, confirm::health(&own).await?) {
                    (Health::Serving { pid, exports }, Health::Serving { exports: more, .. }) => {
                        Health::Serving {
                            pid,
                            exports: exports + more,
                        }
                    }
                    (degraded @ Health::Degraded { .. }, _)
                    | (Health::Serving { .. }, degraded @ Health::Degraded { .. }) => degraded,
                    (stopped, Health::Stopped) => stopped,
                    (Health::Stopped, own) => own,
                };
            }
            Ok(health)
        })
        .await
    }

    async fn stop_if_idle(&self) -> Result<Idle, ExportError> {
        self.command(async |daemons: Arc<Daemons>| {
            daemons.sweep().await?;
            let own = daemons.own()?.len();
            let Some(mut qmp) = daemons.shared.connect().await? else {
                return Ok(if own == 0 {
                    Idle::Stopped
                } else {
                    Idle::Serving(own)
                });
            };
            match exports::list(&mut qmp).await?.len() + own {
                0 => daemons.shared.end(qmp).await.map(|()| Idle::Stopped),
                count => Ok(Idle::Serving(count)),
            }
        })
        .await
    }

    async fn shutdown(&self) -> Result<(), ExportError> {
        self.command(async |daemons: Arc<Daemons>| {
            for (_, own) in daemons.own()? {
                end(&own).await?;
            }
            end(&daemons.shared).await
        })
        .await
    }
}

async fn names(daemon: &Daemon) -> Result<Vec<ExportName>, ExportError> {
    let Some(mut qmp) = daemon.connect().await? else {
        return Ok(Vec::new());
    };
    let exports = exports::list(&mut qmp).await?;
    let names = exports
        .into_iter()
        .filter_map(|export| ExportName::new(export.name).ok());
    Ok(names.collect())
}

async fn end(daemon: &Daemon) -> Result<(), ExportError> {
    match daemon.connect().await {
        Ok(Some(qmp)) => daemon.end(qmp).await,
        Ok(None) => Ok(()),
        Err(ExportError::Unresponsive { .. }) => daemon.kill().await,
        Err(error) => Err(error),
    }
}
