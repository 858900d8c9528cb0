//! The default exporter: one qemu-storage-daemon, driven over QMP, shared by every process that exports.
//!
//! All state lives in the daemon: which export serves which device is read from its node names. Exports come and go
//! live, other connections never notice. The daemon belongs to no single caller: it runs in a session of its own
//! and survives the process that started it (a service manager that kills the whole control group ends it too).

mod daemon;
mod exports;
mod qmp;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    ExportError, ExportName, ExportSpec, Exporter, Health, Idle, NbdAddress, NbdEndpoint, Published,
    Withdrawal,
    handshake::{self, Session},
};
use daemon::Daemon;
use qmp::Qmp;
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
    /// Where to listen; the same for everybody who shares the daemon.
    pub listen: NbdAddress,
}

impl Default for QemuStorageDaemonConfig {
    fn default() -> Self {
        Self {
            program: BACKEND.into(),
            runtime_dir: "/run/nbd-export/qemu-storage-daemon".into(),
            listen: NbdAddress::default(),
        }
    }
}

/// Handle on a (possibly shared) qemu-storage-daemon. Dropping it leaves the daemon and its exports alone.
#[derive(Debug, Clone)]
pub struct QemuStorageDaemon {
    daemon: Arc<Daemon>,
}

impl QemuStorageDaemon {
    /// Uses the daemon that answers in the runtime directory, or starts one; what a dead one left is replaced.
    pub async fn connect_or_start(config: QemuStorageDaemonConfig) -> Result<Self, ExportError> {
        let exporter = Self {
            daemon: Arc::new(Daemon::new(config)?),
        };
        exporter
            .command(async |daemon: Arc<Daemon>| daemon.ensure().await.map(drop))
            .await?;
        Ok(exporter)
    }

    /// Process id of the daemon, if one is alive.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.daemon.process().map(|process| process.pid())
    }

    /// Runs a command under the lock and to its end, even if the caller goes away.
    async fn command<T, F>(
        &self,
        work: impl FnOnce(Arc<Daemon>) -> F + Send + 'static,
    ) -> Result<T, ExportError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ExportError>> + Send,
    {
        let daemon = Arc::clone(&self.daemon);
        let task = async move {
            let _lock = daemon.lock().await?;
            work(daemon).await
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
        self.command(async move |daemon: Arc<Daemon>| publish(&daemon, &spec).await)
            .await
    }

    async fn unpublish(&self, name: &ExportName, withdrawal: Withdrawal) -> Result<(), ExportError> {
        let name = name.clone();
        self.command(async move |daemon: Arc<Daemon>| {
            let Some(mut qmp) = daemon.connect().await? else {
                return Ok(());
            };
            exports::remove(&mut qmp, &name, withdrawal).await?;
            tracing::info!(%name, "export withdrawn");
            exports::sweep(&mut qmp).await
        })
        .await
    }

    async fn list(&self) -> Result<Vec<ExportName>, ExportError> {
        self.command(async |daemon: Arc<Daemon>| {
            let Some(mut qmp) = daemon.connect().await? else {
                return Ok(Vec::new());
            };
            let exports = exports::list(&mut qmp).await?;
            let mut names: Vec<_> = exports
                .into_iter()
                .filter_map(|export| ExportName::new(export.name).ok())
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    fn endpoint(&self, name: &ExportName) -> NbdEndpoint {
        NbdEndpoint {
            address: self.daemon.listen.dial(),
            name: name.clone(),
        }
    }

    async fn health(&self) -> Result<Health, ExportError> {
        self.command(async |daemon: Arc<Daemon>| health(&daemon).await)
            .await
    }

    async fn stop_if_idle(&self) -> Result<Idle, ExportError> {
        self.command(async |daemon: Arc<Daemon>| {
            let Some(mut qmp) = daemon.connect().await? else {
                return Ok(Idle::Stopped);
            };
            match exports::list(&mut qmp).await?.len() {
                0 => daemon.end(qmp).await.map(|()| Idle::Stopped),
                count => Ok(Idle::Serving(count)),
            }
        })
        .await
    }

    async fn shutdown(&self) -> Result<(), ExportError> {
        self.command(async |daemon: Arc<Daemon>| match daemon.connect().await {
            Ok(Some(qmp)) => daemon.end(qmp).await,
            Ok(None) => Ok(()),
            Err(ExportError::Unresponsive { .. }) => daemon.kill().await,
            Err(error) => Err(error),
        })
        .await
    }
}

async fn publish(daemon: &Daemon, spec: &ExportSpec) -> Result<Published, ExportError> {
    let ExportSpec { name, source, access } = spec;
    source.verify().map_err(|source| ExportError::Source {
        name: name.clone(),
        source,
    })?;
    let mut qmp = daemon.ensure().await?;
    exports::sweep(&mut qmp).await?;
    let node = exports::node_name(source.identity(), *access);
    let others = exports::list(&mut qmp).await?;
    if let Some(export) = others.iter().find(|export| export.name == name.as_str()) {
        if export.node != node {
            return Err(ExportError::NameTaken {
                name: name.clone(),
                by: export.node.clone(),
            });
        }
        return confirm(daemon, spec).await;
    }
    if let Some(other) = others
        .into_iter()
        .find(|export| exports::same_device(&export.node, &node))
    {
        return Err(ExportError::SourceTaken {
            name: name.clone(),
            other: other.name,
        });
    }
    match add(daemon, &mut qmp, spec, &node).await {
        Ok(published) => {
            tracing::info!(%name, device = %source.identity(), path = %source.path().display(), ?access, "exported");
            Ok(published)
        }
        Err(error) => {
            // A fresh connection: the failure may have been this one's.
            if let Err(cleanup) = withdraw(daemon, name, &node).await {
                tracing::error!(%name, error = %cleanup, "a failed export could not be withdrawn");
            }
            Err(error)
        }
    }
}

async fn add(
    daemon: &Daemon,
    qmp: &mut Qmp,
    spec: &ExportSpec,
    node: &str,
) -> Result<Published, ExportError> {
    let ExportSpec { name, source, access } = spec;
    exports::add_node(qmp, name, source, *access).await?;
    let identity = source.identity();
    // No other node of ours has this device: what is open now was opened for this node.
    if !daemon.process().is_some_and(|process| process.has_open(identity)) {
        return Err(ExportError::WrongDevice {
            name: name.clone(),
            identity: identity.to_string(),
        });
    }
    exports::add_export(qmp, name, node, *access).await?;
    confirm(daemon, spec).await
}

async fn withdraw(daemon: &Daemon, name: &ExportName, node: &str) -> Result<(), ExportError> {
    let Some(mut qmp) = daemon.connect().await? else {
        return Ok(());
    };
    exports::remove(&mut qmp, name, Withdrawal::DropClients).await?;
    exports::remove_node(&mut qmp, node).await
}

async fn confirm(daemon: &Daemon, spec: &ExportSpec) -> Result<Published, ExportError> {
    let address = daemon.listen.dial();
    let size = spec.source.size();
    let handshake = async {
        let session = Session::confirm(&address, &spec.name, size, spec.access).await?;
        session.close().await
    };
    match handshake.await {
        Ok(()) => {
            let endpoint = NbdEndpoint {
                address,
                name: spec.name.clone(),
            };
            Ok(Published {
                endpoint,
                size,
                access: spec.access,
            })
        }
        Err(source) => Err(ExportError::Unconfirmed {
            name: spec.name.clone(),
            address,
            source,
        }),
    }
}

async fn health(daemon: &Daemon) -> Result<Health, ExportError> {
    let degraded = |reason: String| Ok(Health::Degraded { reason });
    let mut qmp = match daemon.connect().await {
        Ok(Some(qmp)) => qmp,
        Ok(None) => return Ok(Health::Stopped),
        Err(error) => return degraded(error.to_string()),
    };
    let Some(process) = daemon.process() else {
        return degraded("its process is not known".to_owned());
    };
    let exports = exports::list(&mut qmp).await?;
    match handshake::list(&daemon.listen.dial()).await {
        Err(error) => degraded(format!("nbd server does not answer: {error}")),
        Ok(listed) => match exports.iter().find(|export| !listed.contains(&export.name)) {
            Some(export) => degraded(format!("export {} is not listed", export.name)),
            None => Ok(Health::Serving {
                pid: process.pid(),
                exports: exports.len(),
            }),
        },
    }
}
