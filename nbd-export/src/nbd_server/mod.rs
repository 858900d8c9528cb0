//! Debian's nbd-server as an exporter: drop-in files, reloads that are confirmed, a master that is replaced at need.
//!
//! Its reload never removes an export and, from 3.20 to 3.24, corrupts the master's memory (see `master`). So each
//! change is confirmed by a handshake; where it is not, where the reload is known to be broken, and where an export
//! must go, the master is killed and started anew while the children go on serving their clients. New connections are
//! refused for some milliseconds and may then wait a second. Without exports nothing runs: nbd-server refuses to.
//!
//! All state is on disk, under a lock, so several processes may share one server. A record whose device is gone or
//! has become another one is withdrawn by the next command.

mod allowed;
mod config;
mod drop_in;
mod master;
mod version;
mod withdraw;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    ExportError, ExportName, ExportSource, ExportSpec, Exporter, Health, Idle, NbdEndpoint, Published,
    Withdrawal,
    handshake::{HandshakeError, Session},
    process::poll_until,
    runtime::{CommandLock, RuntimeDir},
};
pub use config::{NbdServerConfig, Reload};
use drop_in::{DropIn, DropIns};
use master::{Master, TakenUp};

const BACKEND: &str = "nbd-server";
const LOOK_AFTER: Duration = Duration::from_millis(250);
/// The child opens the device before it answers `OPT_GO`; this is only for a slow /proc.
const OPENED: Duration = Duration::from_millis(500);

/// A supervised nbd-server. Dropping it ends the supervision, not the server.
#[derive(Debug)]
pub struct NbdServer {
    server: Arc<Server>,
    supervisor: AbortHandle,
}

#[derive(Debug)]
struct Server {
    config: NbdServerConfig,
    drop_ins: DropIns,
    master: Master,
    /// What we published, kept open: the kernel then cannot give the device number to another disk.
    pins: Mutex<HashMap<ExportName, ExportSource>>,
}

impl NbdServer {
    /// Takes over what is configured: records whose device is still the same go on, others are withdrawn; a dead
    /// master is replaced if there is anything to serve. From then on a task looks after the master.
    pub async fn connect_or_start(config: NbdServerConfig) -> Result<Self, ExportError> {
        config.check()?;
        let directory = RuntimeDir::prepare(&config.runtime_dir)?;
        let server = Arc::new(Server {
            drop_ins: DropIns::open(&config)?,
            master: Master::new(config.clone(), directory),
            config,
            pins: Mutex::default(),
        });
        let supervisor = tokio::spawn(supervise(Arc::downgrade(&server))).abort_handle();
        let exporter = Self { server, supervisor };
        exporter
            .command(async |server: Arc<Server>| server.mend().await.map(drop))
            .await?;
        Ok(exporter)
    }

    /// How often this process had to start a master; for reports.
    #[must_use]
    pub fn master_starts(&self) -> u64 {
        self.server.master.starts()
    }

    /// Process id of the master, if one is alive.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.server.master.process().map(|process| process.pid())
    }

    /// Runs a command under the lock and to its end, even if the caller goes away.
    async fn command<T, F>(
        &self,
        work: impl FnOnce(Arc<Server>) -> F + Send + 'static,
    ) -> Result<T, ExportError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ExportError>> + Send,
    {
        let server = Arc::clone(&self.server);
        let task = async move {
            let _lock = server.lock().await?;
            work(server).await
        };
        tokio::spawn(task).await.map_err(|_| ExportError::Interrupted)?
    }
}

impl Drop for NbdServer {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Replaces a master that died between commands. Ends with its exporter.
async fn supervise(server: Weak<Server>) {
    loop {
        sleep(LOOK_AFTER).await;
        let Some(server) = server.upgrade() else { return };
        if server.master.process().is_some() || server.drop_ins.all().is_ok_and(|all| all.is_empty()) {
            continue;
        }
        let mended = async {
            let _lock = server.lock().await?;
            server.mend().await
        };
        if let Err(error) = mended.await {
            tracing::error!(%error, "nbd-server is dead and cannot be replaced");
        }
    }
}

#[async_trait]
impl Exporter for NbdServer {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    async fn publish(&self, spec: ExportSpec) -> Result<Published, ExportError> {
        self.command(async move |server: Arc<Server>| server.publish(&spec).await)
            .await
    }

    async fn unpublish(&self, name: &ExportName, withdrawal: Withdrawal) -> Result<(), ExportError> {
        let name = name.clone();
        self.command(async move |server: Arc<Server>| server.unpublish(&name, withdrawal).await)
            .await
    }

    async fn list(&self) -> Result<Vec<ExportName>, ExportError> {
        self.command(async |server: Arc<Server>| server.names()).await
    }

    fn endpoint(&self, name: &ExportName) -> NbdEndpoint {
        self.server.config.endpoint(name)
    }

    async fn health(&self) -> Result<Health, ExportError> {
        self.command(async |server: Arc<Server>| {
            let names = server.names()?;
            match server.master.process() {
                None if names.is_empty() => Ok(Health::Stopped),
                None => Ok(Health::Degraded {
                    reason: "the master is dead".to_owned(),
                }),
                Some(process) if server.master.lists(&names).await => Ok(Health::Serving {
                    pid: process.pid(),
                    exports: names.len(),
                }),
                Some(_) => Ok(Health::Degraded {
                    reason: "not every export is listed".to_owned(),
                }),
            }
        })
        .await
    }

    async fn stop_if_idle(&self) -> Result<Idle, ExportError> {
        self.command(async |server: Arc<Server>| match server.mend().await? {
            0 => server.master.end_all().await.map(|()| Idle::Stopped),
            count => Ok(Idle::Serving(count)),
        })
        .await
    }

    async fn shutdown(&self) -> Result<(), ExportError> {
        self.command(async |server: Arc<Server>| {
            for name in server.names()? {
                server.drop_ins.remove(&name)?;
            }
            server.master.end_all().await?;
            server.pins.lock().clear();
            Ok(())
        })
        .await
    }
}

impl Server {
    async fn lock(&self) -> Result<CommandLock, ExportError> {
        self.master.directory.lock().await
    }

    fn names(&self) -> Result<Vec<ExportName>, ExportError> {
        Ok(self
            .drop_ins
            .all()?
            .into_iter()
            .map(|record| record.name)
            .collect())
    }

    async fn publish(&self, spec: &ExportSpec) -> Result<Published, ExportError> {
        let ExportSpec {
            name,
            source,
            access,
            allow,
        } = spec;
        source.verify().map_err(|source| ExportError::Source {
            name: name.clone(),
            source,
        })?;
        self.config.check()?;
        let addresses = allowed::addresses(&self.config.listen, allow.as_ref()).map_err(|problem| {
            ExportError::AllowList {
                name: name.clone(),
                problem,
            }
        })?;
        self.mend().await?;
        if self.drop_ins.is_foreign(name) {
            let by = "a configuration file that is not ours".to_owned();
            return Err(ExportError::NameTaken {
                name: name.clone(),
                by,
            });
        }
        let records = self.drop_ins.all()?;
        if let Some(record) = records.iter().find(|record| record.name == *name) {
            if (record.identity, record.access) != (source.identity(), *access) {
                let by = format!("{} ({:?})", record.identity, record.access);
                return Err(ExportError::NameTaken {
                    name: name.clone(),
                    by,
                });
            }
            // What a crash left may be a record without a node, or not yet taken up.
            self.drop_ins.make_node(name, source)?;
            self.drop_ins.allow(name, addresses.as_deref())?;
            let published = self.confirm(spec).await?;
            self.pins.lock().insert(name.clone(), source.clone());
            return Ok(published);
        }
        if let Some(other) = records.iter().find(|record| record.identity == source.identity()) {
            return Err(ExportError::SourceTaken {
                name: name.clone(),
                other: other.name.to_string(),
            });
        }
        self.pins.lock().insert(name.clone(), source.clone());
        match self.add(spec, addresses.as_deref()).await {
            Ok(published) => {
                tracing::info!(%name, device = %source.identity(), path = %source.path().display(), ?access, "exported");
                Ok(published)
            }
            Err(error) => {
                if let Err(cleanup) = self.unpublish(name, Withdrawal::DropClients).await {
                    tracing::error!(%name, error = %cleanup, "a failed export could not be withdrawn");
                }
                Err(error)
            }
        }
    }

    async fn add(&self, spec: &ExportSpec, addresses: Option<&str>) -> Result<Published, ExportError> {
        // First: nbd-server lets everybody in where it finds no list.
        self.drop_ins.allow(&spec.name, addresses)?;
        self.drop_ins.write(&spec.name, &spec.source, spec.access)?;
        let expected = self.names()?;
        let taken_up = self.master.take_up(&expected).await?;
        match self.confirm(spec).await {
            // A master that a reload corrupted may serve another device by this name, or die of it.
            Err(error) if taken_up == TakenUp::ByReload => {
                tracing::warn!(name = %spec.name, %error, "nbd-server is not sound after a reload, starting a new one");
                self.master.restart(&expected).await?;
                self.confirm(spec).await
            }
            confirmed => confirmed,
        }
    }

    /// Opens the export as a client and looks which device the serving process opened for us.
    async fn confirm(&self, spec: &ExportSpec) -> Result<Published, ExportError> {
        let ExportSpec {
            name, source, access, ..
        } = spec;
        let server = self.config.dial()?;
        let address = server.address.clone();
        let unconfirmed = |source: HandshakeError| ExportError::Unconfirmed {
            name: name.clone(),
            address: address.clone(),
            source,
        };
        let session = Session::confirm(&server, name, source.size(), *access)
            .await
            .map_err(unconfirmed)?;
        let identity = source.identity();
        let right = poll_until(OPENED, || !self.master.serving(identity).is_empty()).await;
        session.close().await.map_err(unconfirmed)?;
        if !right {
            return Err(ExportError::WrongDevice {
                name: name.clone(),
                identity: identity.to_string(),
            });
        }
        Ok(Published {
            endpoint: self.config.endpoint(name),
            size: source.size(),
            access: *access,
        })
    }
}
