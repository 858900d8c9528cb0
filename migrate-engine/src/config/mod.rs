//! The settings of a copy and of an export.

pub(crate) mod alarms;
mod allowed;
pub(crate) mod existing;
mod files;
mod sources;
pub mod steps;
#[cfg(test)]
pub(crate) mod testing;
mod vddk;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{DigestKind, Route, Size};

pub use alarms::Pace;
pub use allowed::{AllowEntry, allow_list};
pub use files::FilesEntry;
pub use sources::{Believe, SourceEntry, Sources, SourcesError};
pub use vddk::VddkSettings;
pub use workers::WorkerEntry;

/// How the bytes are sent where they do not go to the device itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportBackend {
    /// qemu-storage-daemon: direct I/O, live add and remove.
    QemuStorageDaemon,
    /// Debian's nbd-server, for appliances that run it.
    NbdServer,
}

/// Where nbd-server's configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NbdServerFiles {
    /// The main configuration: the appliance's own, or written where there is none.
    pub base_config: PathBuf,
    /// The folder of one file per export.
    pub drop_in_dir: PathBuf,
    /// The folder of private device nodes; on a file system that allows devices.
    pub node_dir: PathBuf,
}

impl ExportBackend {
    /// What records, and the folder of the server, are called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::QemuStorageDaemon => "qemu-storage-daemon",
            Self::NbdServer => "nbd-server",
        }
    }
}

/// What becomes of a volume that already holds a finished copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is refused: copied data is never garbage.
    Refuse,
    /// It is written over.
    Overwrite,
}

/// Where a copy begins that was interrupted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Where it was, if source and volume are surely the same.
    WhereItWas,
    /// At the begin.
    AtTheBegin,
}

/// What becomes of a volume after its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It is detached.
    Detach,
    /// It stays attached.
    StayAttached,
}

/// Whether the volume is read back and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Every byte.
    ReadBack,
    /// So many of a hundred blocks of 1 MiB, by chance.
    Sample(u8),
    /// Not at all; the report says so.
    Skip,
}

impl ExportSettings {
    /// The same, for another server and address.
    #[must_use]
    pub fn at(&self, backend: ExportBackend, listen: nbd_export::NbdAddress) -> Self {
        Self {
            backend,
            listen,
            ..self.clone()
        }
    }
}

/// Where and how exports are published.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Which server.
    pub backend: ExportBackend,
    /// Where nbd-server's configuration is, should a run that was killed have used it.
    pub nbd_server: NbdServerFiles,
    /// The folder below which each kind of server keeps its sockets, locks and logs.
    pub runtime_dir: PathBuf,
    /// Where it listens.
    pub listen: nbd_export::NbdAddress,
    /// How connections are encrypted.
    pub tls: Option<nbd_export::Tls>,
    /// Who may connect.
    pub allow: Vec<AllowEntry>,
    /// The ports of exports with an allow-list, where the server needs one for each.
    pub own_ports: std::ops::RangeInclusive<u16>,
}

/// Reads the address that a server listens on: `HOST:PORT`, or the absolute path of a Unix socket.
///
/// # Errors
/// What to write instead.
pub fn parse_listen(text: &str) -> Result<nbd_export::NbdAddress, String> {
    if text.starts_with('/') {
        return Ok(nbd_export::NbdAddress::Unix(text.into()));
    }
    let address: std::net::SocketAddr = text.parse().map_err(|_| {
        "it is neither HOST:PORT, with a number for the host, nor an absolute path".to_owned()
    })?;
    match address.port() {
        0 => Err("port 0 cannot be shared; name one".to_owned()),
        _ => Ok(nbd_export::NbdAddress::Tcp(address)),
    }
}

/// What becomes of a volume that is to be published and is not attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unattached {
    /// It is refused.
    Refuse,
    /// It is attached.
    Attach,
}

/// The settings of an export.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// How it is published.
    pub export: ExportSettings,
    /// What becomes of a volume that is not attached.
    pub unattached: Unattached,
    /// What becomes of the volumes when the export ends in good order.
    pub afterwards: Afterwards,
    /// How long an operation of the daemon is waited for.
    pub operation_timeout: Duration,
}

/// The settings of a copy.
#[derive(Debug, Clone)]
pub struct CopySettings {
    /// The name that the machine is known by; the source's own where absent.
    pub machine: Option<String>,
    /// What is added to a disk's capacity (5 GB by default).
    pub buffer: Size,
    /// How the bytes go.
    pub route: Route,
    /// How exports are published, where the bytes go that way.
    pub export: ExportSettings,
    /// What becomes of a volume that already holds a finished copy.
    pub existing: Existing,
    /// What becomes of the volume afterwards.
    pub afterwards: Afterwards,
    /// Whether it is read back.
    pub verification: Verification,
    /// The folder in which is remembered how far copies are; where there is none, an interrupted copy begins again.
    pub journal_dir: Option<PathBuf>,
    /// Where a copy begins that was interrupted before.
    pub begin: Begin,
    /// How content is hashed.
    pub digest: DigestKind,
    /// At most so many bytes a second.
    pub rate: Option<u64>,
    /// Connections and threads per disk.
    pub workers: usize,
    /// How long an operation of the daemon is waited for.
    pub operation_timeout: Duration,
}

/// Whether what a source says has changed is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// It is.
    Believed,
    /// It is not: every disk is read whole, and compared by digest.
    Distrusted,
}

/// The settings of replications.
#[derive(Debug, Clone)]
pub struct ReplicationSettings {
    /// What is added to a disk's capacity for its volume (5 GB by default).
    pub buffer: Size,
    /// How the bytes go: through the volume's export, or to its device.
    pub route: Route,
    /// How volumes are exported.
    pub export: ExportSettings,
    /// What becomes of a volume afterwards.
    pub afterwards: Afterwards,
    /// Whether what was written is read back. Of an incremental copy that is what has changed.
    pub verification: Verification,
    /// Whether what a source says has changed is believed.
    pub tracking: Tracking,
    /// The folder in which is remembered how far copies are.
    pub journal_dir: Option<PathBuf>,
    /// How content is hashed.
    pub digest: DigestKind,
    /// Connections and threads per disk.
    pub workers: usize,
    /// How long an operation of the daemon is waited for.
    pub operation_timeout: Duration,
    /// How many jobs are worked on at once.
    pub at_once: usize,
    /// How many of those may be of machines on one host of the source.
    pub at_once_per_host: usize,
    /// How often a job is attempted by one process before it counts as failed.
    pub attempts: u32,
    /// How long a worker that is away is waited for between two attempts.
    pub worker_patience: Duration,
    /// How long is waited before the second attempt; before later ones four times as long each.
    pub retry_pause: Duration,
}
