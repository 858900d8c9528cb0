//! What can go wrong with an export, one variant per decision a caller can take.

use std::{io, path::PathBuf};

use crate::{
    ExportName, NbdAddress, SourceError, handshake::HandshakeError, qemu_storage_daemon::QmpError,
    tls::CredentialsError,
};

/// Why an exporter did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The name serves something else; withdraw that first.
    #[error("export {name}: the name is taken by {by}")]
    NameTaken {
        /// The name asked for.
        name: ExportName,
        /// What it serves now.
        by: String,
    },
    /// The device is served under another name; one device has one export.
    #[error("export {name}: the same device is already exported as {other}")]
    SourceTaken {
        /// The name asked for.
        name: ExportName,
        /// The name it has.
        other: String,
    },
    /// A client is connected and the caller did not want it dropped.
    #[error("export {name}: a client is connected")]
    InUse {
        /// The export.
        name: ExportName,
    },
    /// The source is not, or no longer, what the caller verified.
    #[error("export {name}: source refused")]
    Source {
        /// The export.
        name: ExportName,
        /// What is wrong with it.
        #[source]
        source: SourceError,
    },
    /// The server was told, but the handshake does not show what was asked for; the export was withdrawn.
    #[error("export {name}: not confirmed by a handshake with {address}")]
    Unconfirmed {
        /// The export.
        name: ExportName,
        /// The server.
        address: NbdAddress,
        /// What the handshake said.
        #[source]
        source: HandshakeError,
    },
    /// The server does not have the verified device open; the export was withdrawn.
    #[error("export {name}: the server did not open the verified device {identity}")]
    WrongDevice {
        /// The export.
        name: ExportName,
        /// The device it should have opened.
        identity: String,
    },
    /// Something else listens where we should.
    #[error("nbd server cannot listen on {address}: address already in use")]
    AddressInUse {
        /// The address.
        address: NbdAddress,
    },
    /// A server program did not come up.
    #[error("cannot start {program}: {reason}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why, with the end of its log.
        reason: String,
    },
    /// A server process lives but does not answer.
    #[error("{program} (pid {pid}) does not answer")]
    Unresponsive {
        /// The program.
        program: &'static str,
        /// Its process id.
        pid: i32,
    },
    /// A setting that cannot work.
    #[error("nbd export configuration: {problem}")]
    Config {
        /// What is wrong.
        problem: String,
    },
    /// Disks are not served in the clear to other machines.
    #[error(
        "nbd server on {address}: other than on loopback or a Unix socket it needs TLS; give it certificates or pre-shared keys"
    )]
    NeedsTls {
        /// The address.
        address: NbdAddress,
    },
    /// A file of certificates or keys cannot be used.
    #[error("nbd server: its certificates or keys cannot be used")]
    Credentials(#[source] CredentialsError),
    /// The server cannot tell the parties of an allow-list from others.
    #[error("export {name}: its allow-list cannot be kept: {problem}")]
    AllowList {
        /// The export.
        name: ExportName,
        /// Why, and what can be.
        problem: String,
    },
    /// Another command held the runtime directory for too long.
    #[error("runtime directory {} stayed locked by another command", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// qemu-storage-daemon refused a command, or did not answer it.
    #[error("qemu-storage-daemon: {doing}")]
    Qmp {
        /// What we were doing.
        doing: String,
        /// Its answer.
        #[source]
        source: QmpError,
    },
    /// The operating system refused.
    #[error("{doing}")]
    Io {
        /// What we were doing.
        doing: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// Our own task ended early (a bug, or the runtime is going down). The export may or may not exist.
    #[error("export command was interrupted")]
    Interrupted,
}

impl ExportError {
    /// For `map_err`: an I/O error with what we were doing.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io {
            doing,
            source: source.into(),
        }
    }
}
