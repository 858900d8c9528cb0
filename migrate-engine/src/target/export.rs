//! A volume's device, published over NBD and recorded; withdrawn again in any case.

use std::sync::Arc;

use nbd_export::{
    Access, ExportError, ExportName, ExportSource, ExportSpec, Exporter, NbdServer, NbdServerConfig,
    QemuStorageDaemon, QemuStorageDaemonConfig, Withdrawal,
};
use volume_client::OpenedDevice;

use crate::config::{ExportBackend, ExportSettings};

/// Why a device could not be published or withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum ExportFailure {
    /// The server said no.
    #[error("cannot {doing} export `{name}`")]
    Server {
        /// What was tried.
        doing: &'static str,
        /// The export.
        name: String,
        /// Why.
        #[source]
        source: ExportError,
    },
    /// The server could not be started.
    #[error("cannot start the NBD server")]
    Start(#[source] ExportError),
    /// The device is not what was verified.
    #[error("device of export `{name}` is refused")]
    Source {
        /// The export.
        name: String,
        /// Why.
        #[source]
        source: nbd_export::SourceError,
    },
    /// The descriptor could not be shared.
    #[error("cannot share the descriptor of the device")]
    Descriptor(#[source] std::io::Error),
    /// The name cannot be one of an export.
    #[error("export name is refused")]
    Name(#[from] nbd_export::NameError),
}

/// The server that exports are published through.
#[derive(Clone)]
pub struct Exports {
    exporter: Arc<dyn Exporter>,
}

/// A published export.
#[derive(Debug, Clone)]
pub struct Export {
    name: ExportName,
    /// Where it is.
    pub uri: String,
}

impl Export {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Exports {
    /// Uses the server that runs, or starts it.
    ///
    /// # Errors
    /// Where it cannot be started: not installed, or its address taken.
    pub async fn connect(settings: &ExportSettings) -> Result<Self, ExportFailure> {
        let (runtime_dir, listen) = (settings.runtime_dir.clone(), settings.listen.clone());
        let exporter: Arc<dyn Exporter> = match settings.backend {
            ExportBackend::QemuStorageDaemon => {
                let config = QemuStorageDaemonConfig {
                    runtime_dir,
                    listen,
                    ..QemuStorageDaemonConfig::default()
                };
                Arc::new(
                    QemuStorageDaemon::connect_or_start(config)
                        .await
                        .map_err(ExportFailure::Start)?,
                )
            }
            ExportBackend::NbdServer => {
                let config = NbdServerConfig {
                    runtime_dir,
                    listen,
                    ..NbdServerConfig::default()
                };
                Arc::new(
                    NbdServer::connect_or_start(config)
                        .await
                        .map_err(ExportFailure::Start)?,
                )
            }
        };
        Ok(Self { exporter })
    }

    /// Who serves.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.exporter.backend()
    }

    /// Publishes an opened device as `migration-vol-{volume_id}`. Only the proven descriptor is served; a handshake has
    /// confirmed name and size when this returns.
    ///
    /// # Errors
    /// Where the server refuses; nothing stays published then.
    pub async fn publish(&self, device: &OpenedDevice) -> Result<Export, ExportFailure> {
        let leased = device.device();
        let name = ExportName::new(format!("migration-vol-{}", leased.volume_id))?;
        let descriptor = device.try_clone().map_err(ExportFailure::Descriptor)?;
        let source = ExportSource::new(
            &leased.device_path,
            std::os::fd::OwnedFd::from(descriptor),
            leased.size_bytes,
        )
        .map_err(|source| ExportFailure::Source {
            name: name.to_string(),
            source,
        })?;
        let spec = ExportSpec {
            name: name.clone(),
            source,
            access: Access::ReadWrite,
        };
        let published = self
            .exporter
            .publish(spec)
            .await
            .map_err(|source| ExportFailure::Server {
                doing: "publish",
                name: name.to_string(),
                source,
            })?;
        Ok(Export {
            name,
            uri: published.endpoint.uri(),
        })
    }

    /// Withdraws an export, whoever is connected, and ends the server where nothing else is exported.
    ///
    /// # Errors
    /// Where the server does not let go of the device.
    pub async fn withdraw(&self, export: &Export) -> Result<(), ExportFailure> {
        let failed = |doing| {
            move |source| ExportFailure::Server {
                doing,
                name: export.name.to_string(),
                source,
            }
        };
        self.exporter
            .unpublish(&export.name, Withdrawal::DropClients)
            .await
            .map_err(failed("withdraw"))?;
        self.exporter
            .stop_if_idle()
            .await
            .map(drop)
            .map_err(failed("end the server of"))
    }
}
