//! A disk that is read from a server of its own, for as long as it is read.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::FileSourceError;
use super::lodging::Lodgings;
use crate::block::nbd::depth_for;
use crate::block::{
    BlockError, BlockRead, Cancel, ExtentKnowledge, NbdExport, NbdOptions, NbdUri, ReadWorker,
};
use crate::source::{Options, ServedDisk, SourceError};

/// Most connections of one reader, as many as a copy has workers.
const CONNECTIONS: u16 = 4;

/// The server of one disk, and the folders that it works in. Dropped, it is killed.
pub(super) struct Server(Mutex<Option<(ServedDisk, Arc<Lodgings>)>>);

/// A reader that keeps its server.
pub(super) struct ServedReader {
    export: NbdExport,
    _server: Arc<Server>,
}

impl Server {
    pub(super) fn new(disk: ServedDisk, lodgings: Arc<Lodgings>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some((disk, lodgings)))))
    }

    /// Stops it in good order. Whoever still reads from it fails. Repeating it is harmless.
    pub(super) async fn stop(&self) -> Result<(), SourceError> {
        let disk = self.0.lock().take();
        match disk {
            Some((disk, _lodgings)) => disk.stop().await,
            None => Ok(()),
        }
    }

    fn uri(&self) -> Option<NbdUri> {
        let disk = self.0.lock();
        let uri = disk.as_ref()?.0.uri();
        Some(uri.parse().expect("the address of a server of ours can be read"))
    }
}

impl ServedReader {
    /// Connects to the server.
    pub(super) async fn connect(
        server: Arc<Server>,
        disk: &str,
        options: &Options,
    ) -> Result<Self, FileSourceError> {
        let uri = server.uri().ok_or(FileSourceError::Released)?;
        let connections = usize::from(options.connections.clamp(1, CONNECTIONS));
        let reading = NbdOptions {
            connections,
            most_depth: depth_for(connections),
            // Where a server of ours ends, nobody starts it again.
            reconnect_for: Duration::ZERO,
            ..NbdOptions::default()
        };
        let connected = tokio::task::spawn_blocking(move || NbdExport::connect(uri, reading)).await;
        let connected = match connected {
            Ok(connected) => connected,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(FileSourceError::Released),
        };
        let export = connected.map_err(|source| FileSourceError::Connect {
            disk: disk.to_owned(),
            source,
        })?;
        Ok(Self {
            export,
            _server: server,
        })
    }
}

impl BlockRead for ServedReader {
    fn size(&self) -> u64 {
        self.export.size()
    }

    fn alignment(&self) -> u64 {
        BlockRead::alignment(&self.export)
    }

    fn max_workers(&self) -> usize {
        BlockRead::max_workers(&self.export)
    }

    fn extent_knowledge(&self) -> ExtentKnowledge {
        self.export.extent_knowledge()
    }

    fn open_worker(&self, cancel: &Cancel) -> Result<Box<dyn ReadWorker>, BlockError> {
        BlockRead::open_worker(&self.export, cancel)
    }
}
