//! A disk that VMware's library reads, as a copy reads it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::reader::tiled;
use super::server::Server;
use super::{VddkError, VddkPlace};
use crate::block::nbd::depth_for;
use crate::block::{
    BlockError, BlockRead, Cancel, Extent, ExtentKind, ExtentKnowledge, NbdExport, NbdOptions, ReadRequest,
    ReadWorker, extent,
};

/// How long the library may take to log in and to open a disk.
const OPENING: Duration = Duration::from_secs(120);
/// How long it may say nothing: it tries a failed read again for half a minute, and may take its time each time.
const SILENCE: Duration = Duration::from_secs(240);

/// A snapshot's disk, read by VMware's library. Dropped, with its workers, its nbdkit ends.
///
/// What of it is in use is what was told by [`Vddk::open`](super::Vddk::open), and within that what the library tells. The error
/// of a failed read is [`BlockError::Remote`], whose source is a [`VddkError::Read`] with nbdkit's last words.
pub struct VddkDisk {
    export: NbdExport,
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    disk: String,
    /// In order, disjoint.
    allocated: Option<Arc<[Range<u64>]>>,
}

impl VddkDisk {
    pub(super) async fn connect(
        server: Server,
        place: &VddkPlace,
        allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<Self, VddkError> {
        match Self::connected(&server, place).await {
            Ok(export) => Ok(Self {
                export,
                shared: Arc::new(Shared {
                    server,
                    disk: place.label.clone(),
                    allocated: allocated.map(|ranges| extent::normalize(ranges.to_vec()).into()),
                }),
            }),
            Err(error @ VddkError::Open { .. }) => {
                server.stop().await;
                Err(error)
            }
            Err(error) => {
                server.end().await;
                Err(error)
            }
        }
    }

    async fn connected(server: &Server, place: &VddkPlace) -> Result<NbdExport, VddkError> {
        let uri = server.uri();
        let connected = tokio::task::spawn_blocking(move || NbdExport::connect(uri, options())).await;
        let connected = match connected {
            Ok(connected) => connected,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(VddkError::Ending),
        };
        let export = match connected {
            Ok(export) => export,
            Err(source) => {
                return Err(VddkError::Open {
                    disk: place.label.clone(),
                    words: server.words_soon().await,
                    source,
                });
            }
        };
        match export.size() {
            size if size == place.capacity => Ok(export),
            found => {
                server.end_with_last_connection();
                Err(VddkError::Size {
                    disk: place.label.clone(),
                    told: place.capacity,
                    found,
                })
            }
        }
    }

    /// The process id of its nbdkit.
    #[must_use]
    pub fn server_id(&self) -> Option<u32> {
        self.shared.server.id()
    }
}

impl Drop for VddkDisk {
    fn drop(&mut self) {
        before_last_connection_ends(&self.shared);
    }
}

/// One connection, and nothing repeated: nbdkit does that, and where it ends nobody starts it again.
fn options() -> NbdOptions {
    NbdOptions {
        connections: 1,
        most_depth: depth_for(1),
        connect_timeout: OPENING,
        silence_timeout: SILENCE,
        reconnect_for: Duration::ZERO,
        read_retries: 0,
        ..NbdOptions::default()
    }
}

impl BlockRead for VddkDisk {
    fn size(&self) -> u64 {
        self.export.size()
    }

    fn alignment(&self) -> u64 {
        BlockRead::alignment(&self.export)
    }

    fn max_workers(&self) -> usize {
        1
    }

    fn extent_knowledge(&self) -> ExtentKnowledge {
        match self.shared.allocated {
            Some(_) => ExtentKnowledge::Known,
            None => self.export.extent_knowledge(),
        }
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        let worker = BlockRead::open_worker(&self.export, cancel);
        let worker = worker.map_err(|error| self.shared.told(error, (0, 0)))?;
        Ok(Box::new(VddkReader {
            worker,
            at: (0, 0),
            shared: Arc::clone(&self.shared),
        }))
    }
}

/// One thread's handle. Its connection ends before its server.
struct VddkReader {
    worker: Box<dyn ReadWorker>,
    /// What was asked for last: about there it was where an error does not know its place.
    at: (u64, u64),
    shared: Arc<Shared>,
}

impl Drop for VddkReader {
    fn drop(&mut self) {
        before_last_connection_ends(&self.shared);
    }
}

impl Shared {
    /// The same error with nbdkit's words, unless it was us. `place` is where it was, if the error does not know.
    fn told(&self, error: BlockError, place: (u64, u64)) -> BlockError {
        if matches!(
            error,
            BlockError::Interrupted | BlockError::NothingInFlight | BlockError::OutOfRange { .. }
        ) {
            return error;
        }
        let (offset, length) = error.place().unwrap_or(place);
        BlockError::Remote {
            offset,
            length,
            source: Box::new(VddkError::Read {
                disk: self.disk.clone(),
                words: self.server.last_words(),
                source: error,
            }),
        }
    }
}

impl ReadWorker for VddkReader {
    fn depth(&self) -> usize {
        self.worker.depth()
    }

    fn most_depth(&self) -> usize {
        self.worker.most_depth()
    }

    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        let place = (range.start, range.end.saturating_sub(range.start));
        let Some(areas) = &self.shared.allocated else {
            let extents = self.worker.extents(range);
            return extents.map_err(|error| self.shared.told(error, place));
        };
        let mut extents = Vec::new();
        for area in tiled(areas, &range) {
            match area.kind {
                ExtentKind::Zero => extents.push(area),
                ExtentKind::Data => {
                    let within = self.worker.extents(area.range());
                    extents.extend(within.map_err(|error| self.shared.told(error, place))?);
                }
            }
        }
        Ok(extent::merge(extents))
    }

    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        self.at = place_of(&request);
        let submitted = self.worker.submit(request);
        submitted.map_err(|error| self.shared.told(error, self.at))
    }

    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        let completed = self.worker.complete();
        completed.map_err(|error| self.shared.told(error, self.at))
    }
}

/// To be called by who holds the server and a connection, before it drops the connection.
fn before_last_connection_ends(shared: &Arc<Shared>) {
    if Arc::strong_count(shared) == 1 {
        shared.server.end_with_last_connection();
    }
}

fn place_of(request: &ReadRequest) -> (u64, u64) {
    let start = request.wanted.first().map_or(0, |part| part.start);
    let end = request.wanted.last().map_or(start, |part| part.end);
    (request.offset + start as u64, (end - start) as u64)
}
