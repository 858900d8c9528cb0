//! What can go wrong for a caller of the daemon: one variant per decision that the caller can take.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::IdempotencyKey;
use super::trust::Rejection;
use crate::types::{ErrorCode, Operation, OperationId, Problem};

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address of the daemon is none.
    #[error("cannot use `{target}` as the daemon's address: {reason}")]
    BadAddress {
        /// What was given.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection came about in any try: surely nothing happened.
    #[error("no daemon answers at {target}")]
    Unreachable {
        /// Its address.
        target: String,
        /// What the last try met.
        #[source]
        source: reqwest::Error,
    },
    /// Who answers there shows a certificate that is not to be believed: nothing was asked.
    #[error("the certificate that {target} shows is not to be believed: its fingerprint is {}", source.found())]
    Untrusted {
        /// The address.
        target: String,
        /// Why not.
        #[source]
        source: Box<Rejection>,
    },
    /// The daemon did not answer in time. Of a change it is not known whether it happened.
    #[error("no answer to {what} within {after:?}")]
    TimedOut {
        /// The request's method and path.
        what: String,
        /// How long the last try waited.
        after: Duration,
        /// The key under which the change can safely be asked for again; `None` when it was only reading.
        key: Option<IdempotencyKey>,
    },
    /// The connection broke under the request. Of a change it is not known whether it happened.
    #[error("the connection broke before the answer to {what} was complete")]
    AnswerLost {
        /// The request's method and path.
        what: String,
        /// The key under which the change can safely be asked for again; `None` when it was only reading.
        key: Option<IdempotencyKey>,
        /// What the connection met.
        #[source]
        source: reqwest::Error,
    },
    /// The daemon said no, and why.
    #[error("{} ({})", .0.detail, .0.code)]
    Problem(Box<Problem>),
    /// The answer is none that this client understands: not volumed, or another version of it.
    #[error("cannot understand the answer to {what}")]
    Protocol {
        /// The request's method and path.
        what: String,
        /// What is wrong with the answer.
        #[source]
        source: ProtocolError,
    },
    /// The operation did not end within the time that the caller gave it. That is *unknown*, not failed: it goes on.
    #[error("operation {operation} has not ended within {after:?}")]
    WaitTimeout {
        /// The operation.
        operation: OperationId,
        /// How long was waited.
        after: Duration,
        /// The operation as it was last seen, if it was seen at all.
        last: Option<Box<Operation>>,
        /// Why it could not be seen at the end, if so.
        #[source]
        source: Option<Box<ClientError>>,
    },
    /// The operation failed, and what it had done is undone.
    #[error("operation {} failed: {}", .0.id, .0.error.as_deref().unwrap_or("no reason is recorded"))]
    OperationFailed(Box<Operation>),
    /// The operation was cancelled before it took effect.
    #[error("operation {} was cancelled", .0.id)]
    OperationCancelled(Box<Operation>),
    /// Somebody else has the device: mounted, held by the kernel, or opened exclusively.
    #[error("device {} is in use", path.display())]
    DeviceBusy {
        /// Its node.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The device cannot be opened or asked.
    #[error("cannot {what} device {}", path.display())]
    DeviceIo {
        /// What was tried: `open`, `flush`, `ask for the size of`.
        what: &'static str,
        /// Its node.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What came could not be written here.
    #[error("cannot write what the daemon sends")]
    Write(#[source] io::Error),
    /// What is behind the path is not what the daemon verified. Nothing was written, and it is closed again.
    #[error(transparent)]
    DeviceMismatch(Box<DeviceMismatch>),
}

/// How an opened device differs from the one that was leased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not the leased device: its {what} is {found}, expected {expected}", path.display())]
pub struct DeviceMismatch {
    /// The node.
    pub path: PathBuf,
    /// What differs: `type`, `device number`, `boot`, `diskseq`, `size`, `identity`.
    pub what: &'static str,
    /// What the daemon verified.
    pub expected: String,
    /// What the descriptor says.
    pub found: String,
}

/// How an answer is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It is not the JSON that was expected.
    #[error("the body is not what was expected")]
    Body(#[source] serde_json::Error),
    /// It is larger than the client reads.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It has a status that the endpoint does not give, and no problem details.
    #[error("status {status} with the body `{excerpt}`")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// It leaves out or contradicts what it must say.
    #[error("{0}")]
    Content(String),
}

impl ClientError {
    /// The daemon's code, where the daemon said why.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::OperationFailed(operation) => operation.error_code,
            _ => None,
        }
    }

    /// The request as the daemon's log names it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => problem.request_id.as_deref(),
            Self::OperationFailed(operation) | Self::OperationCancelled(operation) => {
                operation.request_id.as_deref()
            }
            _ => None,
        }
    }

    /// Whether a change was asked for and nobody knows (yet) whether it happened.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::TimedOut { key, .. } | Self::AnswerLost { key, .. } => key.is_some(),
            Self::WaitTimeout { .. } => true,
            _ => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::BadAddress { .. } => "give a socket's path, https://HOST:PORT, or http://127.0.0.1:8090".to_owned(),
            Self::Unreachable { .. } => {
                "is volumed running, and may you use its socket? `systemctl status volumed`; another place is \
                 named by VOLUMED_SOCKET or VOLUMED_URL"
                    .to_owned()
            }
            Self::Untrusted { .. } => {
                "compare it with the one on the appliance; where it is the right one, give it with --fingerprint, or its authority \
                 with --ca-file"
                    .to_owned()
            }
            Self::TimedOut { key: Some(key), .. } | Self::AnswerLost { key: Some(key), .. } => format!(
                "it may or may not have been taken: look at the operations, or repeat it with the \
                 Idempotency-Key {key}"
            ),
            Self::TimedOut { .. } | Self::AnswerLost { .. } => "ask again".to_owned(),
            Self::Problem(problem) => return problem.hint.clone(),
            Self::Protocol { .. } => "does volumed listen there, and in this client's version?".to_owned(),
            Self::WaitTimeout { operation, .. } => {
                format!("it goes on; `volumectl operations watch {operation}` follows it")
            }
            Self::OperationFailed(operation) => return operation.error_hint.clone(),
            Self::OperationCancelled(_) => return None,
            Self::DeviceBusy { path, .. } => {
                let path = path.display();
                format!("`findmnt {path}`, `lsblk {path}` and `fuser -v {path}` tell who has it")
            }
            Self::DeviceIo { .. } => "the kernel's log (`dmesg`) may tell more".to_owned(),
            Self::Write(_) => "is there room, and may you write there?".to_owned(),
            Self::DeviceMismatch(_) => {
                "nothing was read or written; let the daemon look again (`volumectl correlate`)".to_owned()
            }
        };
        Some(hint)
    }
}
