//! What can go wrong between us and an NBD server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::socket::WaitEnded;

/// An error of an NBD connection; after any of them the connection is spent.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// The server could not be reached.
    #[error("connect to {endpoint}")]
    Connect {
        /// Where we went.
        endpoint: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A host name that leads nowhere.
    #[error("no address for {endpoint}")]
    NoAddress {
        /// What was looked up.
        endpoint: String,
    },
    /// The transport broke.
    #[error("{action} the server")]
    Transport {
        /// `send to` or `receive from`.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The line was lost, and could not be taken up again in the time that was given to it.
    #[error("the line was lost ({why}), and for {seconds} s it could not be taken up again: {now}")]
    Lost {
        /// How long it was tried.
        seconds: u64,
        /// How it was lost.
        why: String,
        /// What the last attempt said.
        now: String,
    },
    /// The server closed the connection while we waited for it.
    #[error("the server closed the connection")]
    Closed,
    /// The server let nothing be heard for too long.
    #[error("the server was silent for {seconds} s")]
    Silent {
        /// How long we waited.
        seconds: u64,
    },
    /// Whoever listens there does not speak the protocol, or breaks it.
    #[error("the server broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: String,
    },
    /// The server speaks an older dialect, or lacks an option that we need.
    #[error("the server does not support {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The server insists on TLS.
    #[error("the server requires TLS for export {export:?}: write nbds:// or nbds+unix://")]
    TlsRequired {
        /// The export that was asked for.
        export: String,
    },
    /// The server offers no TLS, and the address wants it.
    #[error("the server refuses TLS with {code}: {message}; nothing was sent without it")]
    TlsRefused {
        /// The protocol's name of the refusal, or its number.
        code: String,
        /// What the server said, cleaned of control characters.
        message: String,
    },
    /// No encrypted connection came about: certificates that do not fit, most of the time.
    #[error("no TLS connection to {endpoint} came about")]
    Tls {
        /// The server.
        endpoint: String,
        /// What the TLS library or the transport says.
        #[source]
        source: io::Error,
    },
    /// The service does not lead us to the server.
    #[error("{endpoint} opens no tunnel to the export: it answers {status}")]
    Tunnel {
        /// The service.
        endpoint: String,
        /// The status of its answer.
        status: u16,
    },
    /// Certificates or keys of ours cannot be used.
    #[error("cannot use {} for TLS: {why}", path.display())]
    Certificates {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The server has no such export.
    #[error("the server has no export {export:?}")]
    UnknownExport {
        /// The export that was asked for.
        export: String,
    },
    /// The server refused the export for another reason.
    #[error("the server refused export {export:?} with {code}: {message}")]
    Refused {
        /// The export that was asked for.
        export: String,
        /// The protocol's name of the refusal, or its number.
        code: String,
        /// What the server said, cleaned of control characters.
        message: String,
    },
    /// A later connection found another size than the first.
    #[error("export {export:?} changed from {before} to {after} bytes between connections")]
    Changed {
        /// The export.
        export: String,
        /// Size at first, in bytes.
        before: u64,
        /// Size now, in bytes.
        after: u64,
    },
    /// The export has no dirty bitmap of that name.
    #[error(
        "export {export:?} offers no dirty bitmap {bitmap:?}: what has changed is not known, copy all of it or compare"
    )]
    NoBitmap {
        /// The export.
        export: String,
        /// The bitmap that was asked for.
        bitmap: String,
    },
    /// The server failed a request.
    #[error("the server failed to {action} {length} bytes at offset {offset}{}", said(.message))]
    Request {
        /// What was asked: `read`, `write`, `zero`, `flush`, `map`.
        action: &'static str,
        /// Where it started, in bytes.
        offset: u64,
        /// How long it was, in bytes.
        length: u64,
        /// What the server said about it; often nothing.
        message: String,
        /// The server's error number, as the error it stands for.
        #[source]
        source: io::Error,
    },
    /// The cancel flag was raised.
    #[error("interrupted")]
    Cancelled,
    /// The export is read-only.
    #[error("export {export:?} is read-only")]
    ReadOnly {
        /// The export.
        export: String,
    },
}

impl NbdError {
    /// Whether the line is gone, and not the server's word against it.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Closed | Self::Transport { .. } | Self::Silent { .. })
    }

    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into() }
    }

    /// Sorts a failed system call: the end of a wait, the end of the connection, or a broken transport.
    pub(super) fn transport(action: &'static str, source: io::Error, patience: Duration) -> Self {
        match source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<WaitEnded>())
        {
            Some(WaitEnded::Cancelled) => Self::Cancelled,
            Some(WaitEnded::Silent) => Self::Silent {
                seconds: patience.as_secs(),
            },
            None if source.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Transport { action, source },
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

/// What a server wrote for people, made safe to print: bounded, no control characters.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}
