//! Serves a verified block device over NBD; knows no volumes, no clouds and nothing of ours.
//!
//! # Guarantees
//! - What is exported is the device behind the caller's *descriptor*. No server ever resolves the caller's path:
//!   `qemu-storage-daemon` opens `/proc/PID/fd/N`, `nbd-server` opens a private node made from the device number.
//!   Afterwards the server's own open files are checked to be that device.
//! - An export is reported only after an NBD handshake of ours saw its name, size and read-only flag.
//! - Everything is repeatable: publishing twice is one export, withdrawing an unknown export succeeds, and what a
//!   crashed caller left half-done is swept by the next command.
//! - Other machines are served over TLS or not at all, and whoever is not on an export's allow-list is refused by the server itself.
//!   Keys and certificates are given to servers as names of files, never as arguments.
//!
//! # Assumptions
//! The caller keeps its descriptor open (it is shared, not copied) while the export is to live: an open descriptor
//! keeps the kernel from giving the device number to another disk.
#![forbid(unsafe_code)]

mod allow;
mod endpoint;
mod error;
mod exporter;
pub mod handshake;
mod name;
pub mod nbd_server;
mod process;
pub mod qemu_storage_daemon;
mod runtime;
mod source;
pub mod tls;

pub use allow::{AllowList, Party, PartyError};
pub use endpoint::{Encryption, NbdAddress, NbdEndpoint};
pub use error::ExportError;
pub use exporter::{Access, ExportSpec, Exporter, Health, Idle, Published, Withdrawal};
pub use name::{ExportName, NameError};
pub use nbd_server::{NbdServer, NbdServerConfig, Reload};
pub use qemu_storage_daemon::{QemuStorageDaemon, QemuStorageDaemonConfig};
pub use source::{ExportSource, SourceError, SourceIdentity};
pub use tls::Tls;
