//! A copy that a worker makes: what it may tell of it, and the way to the export, closed when the copy has ended.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::wire::{Moved, Steer};
use crate::block::NbdUri;
use crate::block::nbd::NbdEndpoint;
use crate::block::nbd::gate::{Gate, GateError};
use crate::model::chain;
use crate::source::Errand;
use crate::transfer::{Journal, NonsenseError, Progress};

/// How long closed tunnels are waited for: they end with the next byte that they move, or cannot.
const CLOSING: Duration = Duration::from_secs(10);
/// Buffers of a tunnel: blocks go to the export, hardly more than acknowledgements come back.
const BUFFERS: (usize, usize) = (256 << 10, 16 << 10);

/// A copy on its way.
pub struct Delivery {
    export: NbdEndpoint,
    gate: Gate,
    journal: Option<Arc<Journal>>,
    progress: Arc<Progress>,
    rate: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    stopped: CancellationToken,
    closed: CancellationToken,
    tunnels: TaskTracker,
    opening: Mutex<()>,
}

/// A connection to the export, to be joined with one from the worker.
pub enum Passage {
    /// By TCP.
    Tcp(TcpStream),
    /// By a Unix socket.
    Unix(UnixStream),
}

impl Delivery {
    pub(super) fn new(errand: &Errand, export: &NbdUri) -> Self {
        Self {
            export: export.endpoint.clone(),
            gate: Gate::before(export),
            journal: errand.memory.as_ref().map(|(journal, _)| Arc::clone(journal)),
            progress: Arc::clone(&errand.progress),
            rate: Arc::clone(&errand.rate),
            stopped: CancellationToken::new(),
            closed: CancellationToken::new(),
            tunnels: TaskTracker::new(),
            opening: Mutex::new(()),
        }
    }

    /// Shows how far the copy is, and tells how it is to go on.
    #[must_use]
    pub fn moved(&self, moved: Moved) -> Steer {
        self.progress.mirror(&moved.into());
        Steer {
            rate: (self.rate)(),
            is_to_end: self.stopped.is_cancelled(),
        }
    }

    /// Writes down what became durable.
    ///
    /// # Errors
    /// Where it makes no sense.
    pub fn checkpoint(&self, covered: &[u8]) -> Result<(), NonsenseError> {
        match &self.journal {
            Some(journal) if !self.closed.is_cancelled() => journal.record_bytes(covered),
            _ => Ok(()),
        }
    }

    /// Connects to the export.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn passage(&self) -> std::io::Result<Passage> {
        Ok(match &self.export {
            NbdEndpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Passage::Tcp(stream)
            }
            NbdEndpoint::Unix { socket } => Passage::Unix(UnixStream::connect(socket).await?),
        })
    }

    /// Joins a worker's connection with one to the export, and to no other export of its server ([`Gate`]), until either ends or the copy has. `false` where it has already.
    pub fn join(
        &self,
        passage: Passage,
        worker: impl Future<Output = Option<Box<dyn Duplex>>> + Send + 'static,
    ) -> bool {
        let _opening = self.opening.lock();
        if self.closed.is_cancelled() {
            return false;
        }
        let (closed, gate) = (self.closed.clone(), self.gate.clone());
        self.tunnels.spawn(closed.run_until_cancelled_owned(async move {
            let Some(mut worker) = worker.await else { return };
            let (to, back) = BUFFERS;
            let passed = match passage {
                Passage::Tcp(export) => gate.pass(&mut worker, export).await,
                Passage::Unix(export) => gate.pass(&mut worker, export).await,
            };
            let mut export = match passed {
                Ok(export) => export,
                Err(GateError::Ended) => return,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a worker did not come to its export");
                    return;
                }
            };
            let ended = copy_bidirectional_with_sizes(&mut worker, &mut export, to, back).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "a tunnel broke off");
            }
        }));
        true
    }

    /// Wants the copy to end in order.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Closes the tunnels, and opens none any more. When this returns, no byte of the worker's reaches the export.
    pub(super) async fn close(&self) {
        {
            let _opening = self.opening.lock();
            self.closed.cancel();
            self.tunnels.close();
        }
        if tokio::time::timeout(CLOSING, self.tunnels.wait()).await.is_err() {
            tracing::error!("a tunnel to an export does not close");
        }
    }
}

/// Closed also where whoever waited for the copy does so no more.
impl Drop for Delivery {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// A stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
