//! A volume's device, published over NBD and recorded; withdrawn again in any case.

use std::sync::Arc;

use nbd_export::{
    Access, ExportError, ExportName, ExportSource, ExportSpec, Exporter, Health, NbdServer, NbdServerConfig,
    QemuStorageDaemon, QemuStorageDaemonConfig, Tls, Withdrawal,
};
use volume_client::OpenedDevice;
use volume_client::types::VolumeId;

use crate::block::NbdUri;
use crate::block::nbd::{NbdTls, NbdUriError};
use crate::config::{AllowEntry, ExportBackend, ExportSettings, allow_list};

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
        source: Box<ExportError>,
    },
    /// The server could not be started.
    #[error("cannot start the NBD server")]
    Start(#[source] Box<ExportError>),
    /// The server could not be ended.
    #[error("cannot end the NBD server")]
    Stop(#[source] Box<ExportError>),
    /// The device is not what was verified.
    #[error("device of export `{name}` is refused")]
    Source {
        /// The export.
        name: String,
        /// Why.
        #[source]
        source: nbd_export::SourceError,
    },
    /// The export wants keys that the engine cannot bring.
    #[error("the engine cannot write through exports with pre-shared keys")]
    Keys,
    /// An address of our own server that we do not understand ourselves.
    #[error("the export's address `{uri}` cannot be used")]
    Address {
        /// The address.
        uri: String,
        /// Why.
        #[source]
        source: NbdUriError,
    },
    /// The descriptor could not be shared.
    #[error("cannot share the descriptor of the device")]
    Descriptor(#[source] std::io::Error),
}

/// The server that exports are published through.
#[derive(Clone)]
pub struct Exports {
    exporter: Arc<dyn Exporter>,
    tls: Option<Tls>,
    allow: Arc<[AllowEntry]>,
}

impl ExportFailure {
    /// What a person can do, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let source = match self {
            Self::Keys => {
                return Some("use --nbd-tls-certificates, or --to-device, which needs no export".to_owned());
            }
            Self::Start(source) | Self::Server { source, .. } => source,
            _ => return None,
        };
        match &**source {
            ExportError::AddressInUse { address } => Some(format!(
                "something else listens on {address}: name another address with --nbd-listen, or share its server's \
                 --runtime-dir"
            )),
            ExportError::Start { program, .. } => Some(format!(
                "is {} installed? Debian has it in package qemu-utils or nbd-server",
                program.display()
            )),
            ExportError::NeedsTls { .. } => Some(
                "name a folder with --nbd-tls-certificates or --nbd-tls-psk, or listen on 127.0.0.1 or a Unix socket".to_owned(),
            ),
            ExportError::Credentials(_) => Some("docs/nbd-exports.md makes a folder that fits, step by step".to_owned()),
            ExportError::AllowList { .. } => {
                Some("see --nbd-allow, and docs/nbd-exports.md for which server knows whom".to_owned())
            }
            _ => None,
        }
    }
}

impl Exports {
    /// Uses the server that runs, or starts it.
    ///
    /// # Errors
    /// Where it cannot be started: not installed, or its address taken.
    pub async fn connect(settings: &ExportSettings) -> Result<Self, ExportFailure> {
        let exporter: Result<Arc<dyn Exporter>, ExportError> = match settings.backend {
            ExportBackend::QemuStorageDaemon => QemuStorageDaemon::connect_or_start(qemu(settings))
                .await
                .map(|exporter| Arc::new(exporter) as _),
            ExportBackend::NbdServer => nbd_server(settings).await,
        };
        Self::through(exporter, settings)
    }

    /// The server that may be left by a run that died, whatever it encrypted with: for withdrawing.
    ///
    /// # Errors
    /// Where it cannot be taken over.
    pub async fn left(settings: &ExportSettings) -> Result<Self, ExportFailure> {
        let exporter: Result<Arc<dyn Exporter>, ExportError> = match settings.backend {
            ExportBackend::QemuStorageDaemon => {
                QemuStorageDaemon::existing(qemu(settings)).map(|exporter| Arc::new(exporter) as _)
            }
            ExportBackend::NbdServer => nbd_server(settings).await,
        };
        Self::through(exporter, settings)
    }

    fn through(
        exporter: Result<Arc<dyn Exporter>, ExportError>,
        settings: &ExportSettings,
    ) -> Result<Self, ExportFailure> {
        Ok(Self {
            exporter: exporter.map_err(|source| ExportFailure::Start(source.into()))?,
            tls: settings.tls.clone(),
            allow: settings.allow.clone().into(),
        })
    }

    /// How the engine itself reaches an export that clients know by `uri`: with its own certificate.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn reached_by_us(&self, uri: &str) -> Result<String, ExportFailure> {
        let (folder, hostname) = match &self.tls {
            None => return Ok(uri.to_owned()),
            Some(Tls::Keys { .. }) => return Err(ExportFailure::Keys),
            Some(Tls::Certificates { folder, hostname }) => (folder.clone(), hostname.clone()),
        };
        let parsed: NbdUri = uri.parse().map_err(|source| ExportFailure::Address {
            uri: uri.to_owned(),
            source,
        })?;
        let tls = NbdTls {
            certificates: Some(folder),
            hostname,
        };
        let with = NbdUri {
            tls: Some(tls),
            ..parsed
        };
        Ok(with.to_string())
    }

    /// Who serves.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.exporter.backend()
    }

    /// The name of a volume's export.
    #[must_use]
    pub fn name(volume: VolumeId) -> ExportName {
        ExportName::new(format!("migration-vol-{volume}"))
            .expect("a plain prefix and a UUID are a plain name")
    }

    /// Where an export of this name is, or would be.
    #[must_use]
    pub fn uri(&self, name: &ExportName) -> String {
        self.exporter.endpoint(name).uri()
    }

    /// Publishes an opened device as `migration-vol-{volume_id}`. Only the proven descriptor is served; a handshake has
    /// confirmed name and size when this returns, with where it is. Repeating it mends what a server that died has lost.
    ///
    /// # Errors
    /// Where the server refuses; nothing stays published then.
    pub async fn publish(&self, device: &OpenedDevice) -> Result<String, ExportFailure> {
        let leased = device.device();
        let name = Self::name(leased.volume_id);
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
            allow: allow_list(&self.allow, leased.volume_id),
        };
        let published = self
            .exporter
            .publish(spec)
            .await
            .map_err(|source| ExportFailure::Server {
                doing: "publish",
                name: name.to_string(),
                source: source.into(),
            })?;
        Ok(published.endpoint.uri())
    }

    /// Whether the server lives and serves this export, as far as a handshake tells.
    ///
    /// # Errors
    /// Where that cannot be told now.
    pub async fn serves(&self, name: &ExportName) -> Result<bool, ExportFailure> {
        let asked = async {
            match self.exporter.health().await? {
                Health::Stopped | Health::Degraded { .. } => Ok(false),
                Health::Serving { .. } => Ok(self.exporter.list().await?.contains(name)),
            }
        };
        asked.await.map_err(|source: ExportError| ExportFailure::Server {
            doing: "look for",
            name: name.to_string(),
            source: source.into(),
        })
    }

    /// Withdraws an export, whoever is connected. One that is not there is fine.
    ///
    /// # Errors
    /// Where the server does not let go of the device.
    pub async fn withdraw(&self, name: &ExportName) -> Result<(), ExportFailure> {
        let withdrawn = self.exporter.unpublish(name, Withdrawal::DropClients).await;
        withdrawn.map_err(|source| ExportFailure::Server {
            doing: "withdraw",
            name: name.to_string(),
            source: source.into(),
        })
    }

    /// Ends the server where nothing is exported any more, by us or by anybody else who shares it.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop_if_idle(&self) -> Result<(), ExportFailure> {
        self.exporter
            .stop_if_idle()
            .await
            .map(drop)
            .map_err(|source| ExportFailure::Stop(source.into()))
    }
}

fn qemu(settings: &ExportSettings) -> QemuStorageDaemonConfig {
    QemuStorageDaemonConfig {
        runtime_dir: settings.runtime_dir.join(settings.backend.name()),
        listen: settings.listen.clone(),
        tls: settings.tls.clone(),
        own_ports: settings.own_ports.clone(),
        ..QemuStorageDaemonConfig::default()
    }
}

async fn nbd_server(settings: &ExportSettings) -> Result<Arc<dyn Exporter>, ExportError> {
    let files = &settings.nbd_server;
    let config = NbdServerConfig {
        runtime_dir: settings.runtime_dir.join(settings.backend.name()),
        listen: settings.listen.clone(),
        tls: settings.tls.clone(),
        base_config: files.base_config.clone(),
        drop_in_dir: files.drop_in_dir.clone(),
        node_dir: files.node_dir.clone(),
        ..NbdServerConfig::default()
    };
    Ok(Arc::new(NbdServer::connect_or_start(config).await?))
}
