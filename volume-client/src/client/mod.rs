//! The typed client of volumed: every endpoint, safe repeats, waiting for operations, and proven devices.
//!
//! # What is repeated, and what is not
//!
//! * Reading (`GET`) is repeated with growing pauses when the daemon cannot be reached, does not answer in time,
//!   breaks off, or says 503.
//! * Every change (`POST`, `DELETE`) carries an `Idempotency-Key`, made once per call or given with
//!   [`VolumedClient::with_idempotency_key`], and is repeated **with that same key**: if the first request did
//!   arrive, the daemon answers with the operation (or lease) of then, and nothing happens twice.
//! * Never repeated: any other answer of the daemon (4xx, 500, 502, 507), a bad answer, an operation that failed.
//!   A new try is then a new decision, the caller's.
//!
//! When all tries are used up, [`ClientError::Unreachable`] says that surely nothing happened;
//! [`ClientError::TimedOut`] and [`ClientError::AnswerLost`] say that nobody knows, and carry the key with which
//! the very same call can be repeated later.
//!
//! Answers are read to 16 MiB at most, but for a backup, which is written as it comes.

mod address;
mod backup;
mod builder;
mod device;
mod error;
mod events;
mod finding;
mod inspect;
mod ioctl;
mod key;
mod lease;
mod operation;
mod page;
mod proof;
mod request_id;
mod scsi;
mod snapshot;
mod sse;
mod token;
mod transport;
pub mod trust;
mod volume;
mod wait;

use std::sync::Arc;

pub use backup::Backup;
pub use builder::{ClientBuilder, DEFAULT_SOCKET};
pub use device::{OpenDevice, OpenedDevice};
pub use error::{ClientError, DeviceMismatch, ProtocolError};
pub use events::EventStream;
pub use inspect::AuditFilter;
pub use key::{IdempotencyKey, KeyError};
pub use operation::OperationFilter;
pub use page::ItemStream;
pub use request_id::{RequestId, RequestIdError};
pub use volume::VolumeFilter;
pub use wait::DEFAULT_WAIT;

/// A client of one daemon. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct VolumedClient {
    inner: Arc<builder::Settings>,
    http: reqwest::Client,
    key: Option<IdempotencyKey>,
    request_id: Option<RequestId>,
}

/// What HTTP clients of ours are built from: no proxy, no redirects, and of servers those are believed that `tls` says.
pub fn http(tls: tokio_rustls::rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls)
}

impl VolumedClient {
    /// Starts from the default: the Unix socket [`DEFAULT_SOCKET`].
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of the daemon that listens on the Unix socket `path`, with the default time-outs.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] if the path cannot be a socket's.
    pub fn unix(path: impl Into<std::path::PathBuf>) -> Result<Self, ClientError> {
        Self::builder().unix(path).build()
    }

    /// A client of the daemon at an `https://` address, or an `http://` address of this machine, with the default time-outs.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] if it is no such address.
    pub fn http(url: impl Into<String>) -> Result<Self, ClientError> {
        Self::builder().http(url).build()
    }

    /// A client of the daemon that the environment names: `VOLUMED_URL`, else `VOLUMED_SOCKET`, else
    /// [`DEFAULT_SOCKET`].
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] if what the environment names is no usable address.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::builder().from_env().build()
    }

    /// A client that sends `key` with its next change, for a caller that keeps keys of its own across crashes.
    ///
    /// A key stands for one change: the daemon refuses another one under it (`idempotency_key_reused`).
    /// [`VolumedClient::open_device`] uses it for the lease only.
    #[must_use]
    pub fn with_idempotency_key(&self, key: IdempotencyKey) -> Self {
        Self {
            key: Some(key),
            ..self.clone()
        }
    }

    /// A client whose requests all go by this name: the daemon has it in its log, in the operations that they begin, and in
    /// problems. So the daemon's work for one job of the caller's can be found.
    #[must_use]
    pub fn with_request_id(&self, id: RequestId) -> Self {
        Self {
            request_id: Some(id),
            ..self.clone()
        }
    }

    /// The name that its requests go by, where they have one.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }

    /// The daemon's address, for people.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.inner.target
    }

    fn without_key(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }
}
