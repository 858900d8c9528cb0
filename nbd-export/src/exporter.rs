//! The contract every NBD server behind this crate fulfils.

use async_trait::async_trait;

use crate::{AllowList, ExportError, ExportName, ExportSource, NbdEndpoint};

/// What clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Writes are refused by the server.
    ReadOnly,
    /// Reads, writes, flushes.
    ReadWrite,
}

/// What to publish.
#[derive(Debug, Clone)]
pub struct ExportSpec {
    /// Name clients ask for.
    pub name: ExportName,
    /// The verified device.
    pub source: ExportSource,
    /// What clients may do.
    pub access: Access,
    /// Who may connect; whoever the server lets in at all where there is no list.
    pub allow: Option<AllowList>,
}

/// An export that a handshake has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub endpoint: NbdEndpoint,
    /// Its size in bytes, as the server announces it.
    pub size: u64,
    /// What clients may do, as the server announces it.
    pub access: Access,
}

/// What becomes of connected clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Refuse with [`ExportError::InUse`] while a client is connected.
    WhenIdle,
    /// Disconnect this export's clients, and no others.
    DropClients,
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No process; the next publish starts one. Nothing is exported.
    Stopped,
    /// Running, and every export is listed.
    Serving {
        /// Process id of the server.
        pid: i32,
        /// Number of exports.
        exports: usize,
    },
    /// Something is wrong that the next publish tries to mend.
    Degraded {
        /// What is wrong.
        reason: String,
    },
}

/// Outcome of [`Exporter::stop_if_idle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing was exported; the server has ended.
    Stopped,
    /// The server goes on with this many exports.
    Serving(usize),
}

/// A server of verified block devices.
///
/// Commands are serialised across processes by a lock in the runtime directory, run to their end even when the
/// caller drops the future, and clean up after what a crashed caller left.
#[async_trait]
pub trait Exporter: Send + Sync {
    /// `qemu-storage-daemon` or `nbd-server`.
    fn backend(&self) -> &'static str;

    /// Exports a device and confirms it by a handshake before returning.
    ///
    /// Again with the same name, device and access: the same answer, confirmed anew. Another device or access under
    /// a live name: [`ExportError::NameTaken`]. Another allow-list is in force when this returns, for whoever connects from then on;
    /// clients that are connected stay, whether they are on it or not. On any error nothing stays exported that was not before.
    async fn publish(&self, spec: ExportSpec) -> Result<Published, ExportError>;

    /// Withdraws an export; afterwards the server no longer has the device open. Unknown names succeed.
    async fn unpublish(&self, name: &ExportName, withdrawal: Withdrawal) -> Result<(), ExportError>;

    /// The exports of this server that this crate published (by any process), sorted.
    async fn list(&self) -> Result<Vec<ExportName>, ExportError>;

    /// Where an export of this name is, or would be.
    fn endpoint(&self, name: &ExportName) -> NbdEndpoint;

    /// Asks the server itself, not our records.
    async fn health(&self) -> Result<Health, ExportError>;

    /// Ends the server when it exports nothing.
    async fn stop_if_idle(&self) -> Result<Idle, ExportError>;

    /// Withdraws everything, drops all clients and ends the server, also for other processes that share it.
    async fn shutdown(&self) -> Result<(), ExportError>;
}
