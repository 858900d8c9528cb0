//! The settings of a copy.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Route, Size};

/// How the bytes are sent where they do not go to the device itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportBackend {
    /// qemu-storage-daemon: direct I/O, live add and remove.
    QemuStorageDaemon,
    /// Debian's nbd-server, for appliances that run it.
    NbdServer,
}

/// What becomes of a volume that already holds a finished copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is refused: copied data is never garbage.
    Refuse,
    /// It is written over.
    Overwrite,
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
    /// Not at all; the report says so.
    Skip,
}

/// Where and how exports are published.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Which server.
    pub backend: ExportBackend,
    /// Where it keeps its sockets, locks and logs.
    pub runtime_dir: PathBuf,
    /// Where it listens.
    pub listen: nbd_export::NbdAddress,
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
    /// At most so many bytes a second.
    pub rate: Option<u64>,
    /// Connections and threads per disk.
    pub workers: usize,
    /// How long an operation of the daemon is waited for.
    pub operation_timeout: Duration,
}
