//! An NBD client: a remote disk as a reader and a writer.
//!
//! Speaks fixed newstyle with structured or simple replies, `base:allocation`, qemu's dirty bitmaps, and pipelined requests on several
//! connections where the server promises that they see each other's writes (multi-conn); one otherwise.
//! Over TLS (certificates, `nbds://`) it never goes on unencrypted. Nothing the server says is believed before it was checked.

mod changes;
mod connection;
mod error;
pub mod gate;
mod handshake;
mod pace;
mod read;
mod reply;
mod socket;
mod tls;
mod tunnel;
mod uri;
mod warm;
mod wire;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{
    BlockError, BlockRead, BlockWrite, Cancel, Durability, ExtentKnowledge, InitialContent, ReadWorker,
    WriteWorker,
};
use connection::Connection;
pub use error::NbdError;
use handshake::{StatusOf, Terms};
pub use tunnel::{NbdTunnel, PROTOCOL};
pub use uri::{DEFAULT_PORT, NbdEndpoint, NbdTls, NbdUri, NbdUriError};

/// How long a writer may still wait for acknowledgements after its cancel flag was raised.
const WRITER_GRACE: Duration = Duration::from_secs(5);

/// How to use a server.
#[derive(Debug, Clone)]
pub struct NbdOptions {
    /// Most connections, where the server allows more than one.
    pub connections: usize,
    /// Blocks in flight per connection when reading, to begin with, if that is no more than `most_depth`.
    pub depth: usize,
    /// What that may grow to where the server is found to take its time. Most servers work at no more than 16 requests of a connection.
    pub most_depth: usize,
    /// Bound of connecting, and of each silence while negotiating.
    pub connect_timeout: Duration,
    /// Longest silence of the server while we wait for it.
    pub silence_timeout: Duration,
    /// How long a lost line is tried to be taken up again when reading; zero fails at once. Writing is never repeated: what a
    /// server has acknowledged and not flushed may be gone with it.
    pub reconnect_for: Duration,
    /// How often a read that the server fails is repeated.
    pub read_retries: u32,
    /// Longest silence of the server during a flush.
    pub flush_timeout: Duration,
    /// What the export holds before the first write.
    pub initial_content: InitialContent,
    /// The tunnel that leads to the server, where the address does not; such a connection is encrypted already.
    pub tunnel: Option<NbdTunnel>,
}

/// A connected export. One connection is kept for the next worker, so that a server that serves a single client,
/// or ends with its last one, keeps serving.
pub struct NbdExport {
    shared: Arc<Shared>,
}

struct Shared {
    uri: NbdUri,
    options: NbdOptions,
    terms: Terms,
    spare: Mutex<Option<Connection>>,
    /// Whether the server was made ready for many reads, or need not be.
    is_warm: AtomicBool,
}

impl Default for NbdOptions {
    fn default() -> Self {
        Self {
            connections: 4,
            depth: 8,
            most_depth: depth_for(4),
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(60),
            reconnect_for: Duration::from_secs(20),
            read_retries: 2,
            flush_timeout: Duration::from_secs(600),
            initial_content: InitialContent::Unknown,
            tunnel: None,
        }
    }
}

/// MiB in flight and in the writer's hands of one disk.
const BUDGET: usize = 58;
/// What of it each worker holds besides what it reads into.
const KEPT: usize = 5;

/// How deep each of so many connections may read within the memory of a disk: from 4 to 16 blocks.
#[must_use]
pub fn depth_for(connections: usize) -> usize {
    (BUDGET / connections.max(1)).saturating_sub(KEPT).clamp(4, 16)
}

impl NbdExport {
    /// Connects and negotiates; bounded by the connect timeout.
    pub fn connect(uri: NbdUri, options: NbdOptions) -> Result<Self, NbdError> {
        let first = Connection::open(&uri, &options, StatusOf::ALLOCATION, &Cancel::new())?;
        let terms = first.terms;
        let is_warm = AtomicBool::new(!warm::is_worth_it(&uri, &terms));
        let spare = Mutex::new(Some(first));
        Ok(Self {
            shared: Arc::new(Shared {
                uri,
                options,
                terms,
                spare,
                is_warm,
            }),
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.shared.terms.size
    }

    /// Whether the server refuses writes.
    pub fn is_read_only(&self) -> bool {
        self.shared.terms.abilities.read_only()
    }

    fn alignment(&self) -> u64 {
        u64::from(self.shared.terms.minimum_block)
    }

    fn max_workers(&self) -> usize {
        if self.shared.terms.abilities.multi_conn() {
            self.shared.options.connections.max(1)
        } else {
            1
        }
    }
}

impl Shared {
    /// The kept connection, or a new one that found the same export.
    fn connection(&self, cancel: &Cancel) -> Result<Connection, NbdError> {
        if let Some(spare) = self.spare.lock().take() {
            return Ok(spare);
        }
        self.fresh_connection(cancel)
    }

    /// A new connection that found the same export.
    fn fresh_connection(&self, cancel: &Cancel) -> Result<Connection, NbdError> {
        let connection = Connection::open(&self.uri, &self.options, StatusOf::ALLOCATION, cancel)?;
        match connection.terms.size {
            after if after != self.terms.size => Err(self.changed(after)),
            _ => Ok(connection),
        }
    }

    fn changed(&self, after: u64) -> NbdError {
        NbdError::Changed {
            export: self.uri.export.clone(),
            before: self.terms.size,
            after,
        }
    }

    /// Keeps a connection that is in order and nobody else's; drops it otherwise.
    fn give_back(&self, mut connection: Connection) {
        let mut spare = self.spare.lock();
        if spare.is_none() && connection.is_idle() {
            connection.set_cancel(&Cancel::new(), Duration::ZERO);
            *spare = Some(connection);
        }
    }
}

impl BlockRead for NbdExport {
    fn size(&self) -> u64 {
        self.size()
    }

    fn alignment(&self) -> u64 {
        self.alignment()
    }

    fn max_workers(&self) -> usize {
        self.max_workers()
    }

    fn extent_knowledge(&self) -> ExtentKnowledge {
        match self.shared.terms.status_context {
            Some(_) => ExtentKnowledge::Known,
            None => ExtentKnowledge::Hidden,
        }
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        let mut connection = self.shared.connection(cancel)?;
        connection.set_cancel(cancel, Duration::ZERO);
        if !self.shared.is_warm.swap(true, Ordering::Relaxed)
            && let Err(error) = warm::up(&mut connection)
        {
            tracing::debug!(%error, "the first read failed; whoever needs those bytes will be told");
            connection = self.shared.fresh_connection(cancel)?;
            connection.set_cancel(cancel, Duration::ZERO);
        }
        Ok(Box::new(read::NbdReader::new(
            Arc::clone(&self.shared),
            connection,
            cancel.clone(),
        )))
    }
}

impl BlockWrite for NbdExport {
    fn size(&self) -> u64 {
        self.size()
    }

    fn alignment(&self) -> u64 {
        self.alignment()
    }

    fn max_workers(&self) -> usize {
        self.max_workers()
    }

    fn initial_content(&self) -> InitialContent {
        self.shared.options.initial_content
    }

    fn durability(&self) -> Durability {
        let abilities = self.shared.terms.abilities;
        let offered = abilities.flush() || abilities.forced_unit_access();
        if offered {
            Durability::Durable
        } else {
            Durability::NotOffered
        }
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn WriteWorker>, BlockError> {
        if self.is_read_only() {
            return Err(NbdError::ReadOnly {
                export: self.shared.uri.export.clone(),
            }
            .into());
        }
        let mut connection = self.shared.connection(cancel)?;
        connection.set_cancel(cancel, WRITER_GRACE);
        Ok(Box::new(write::NbdWriter::new(
            Arc::clone(&self.shared),
            connection,
        )))
    }
}

impl std::fmt::Debug for NbdExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NbdExport")
            .field("uri", &self.shared.uri)
            .field("terms", &self.shared.terms)
            .finish()
    }
}

#[cfg(test)]
mod tests;
