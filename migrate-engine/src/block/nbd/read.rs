//! Reading an export: pipelined reads, and its block status in bounded windows.

use std::ops::Range;
use std::sync::Arc;

use super::super::error::check_range;
use super::super::{BlockError, Extent, ReadRequest, ReadWorker, extent};
use super::Shared;
use super::connection::{Connection, Pending};
use super::error::NbdError;
use super::wire::Command;

/// The largest range whose block status is asked at once.
const STATUS_WINDOW: u64 = 1 << 30;

pub(super) struct NbdReader {
    shared: Arc<Shared>,
    /// Present until the drop.
    connection: Option<Connection>,
    in_flight: usize,
}

impl NbdReader {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            shared,
            connection: Some(connection),
            in_flight: 0,
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("the connection leaves only on drop")
    }

    /// One block status request; `None` where the server failed it.
    fn map(&mut self, range: &Range<u64>) -> Result<Option<Vec<Extent>>, NbdError> {
        let length = u32::try_from(range.end - range.start).expect("a window is at most 1 GiB");
        let connection = self.connection();
        connection.mapped = None;
        connection.start(Pending::new(Command::BlockStatus, range.start, length), 0, &[])?;
        loop {
            match connection.mapped.take() {
                Some(Ok(extents)) => return Ok(Some(extents)),
                Some(Err(error)) => {
                    // Reading everything is always right; only slower.
                    tracing::warn!(%error, "the NBD server failed a block status request, reading all of it");
                    return Ok(None);
                }
                None => connection.receive()?,
            }
        }
    }
}

impl ReadWorker for NbdReader {
    fn depth(&self) -> usize {
        self.shared.options.depth.max(1)
    }

    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        check_range(
            "map",
            range.start,
            range.end.saturating_sub(range.start),
            self.shared.terms.size,
        )?;
        if self.shared.terms.status_context.is_none() {
            return Ok(extent::merge([Extent::data(range)]));
        }
        let mut extents: Vec<Extent> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let window = at..range.end.min(at + STATUS_WINDOW);
            let found = self.map(&window)?.unwrap_or_else(|| vec![Extent::data(window)]);
            at = found.last().map_or(at, Extent::end);
            extents.extend(found);
        }
        Ok(extent::merge(extents))
    }

    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        for part in &request.wanted {
            let length = part.len() as u64;
            check_range(
                "read",
                request.offset + part.start as u64,
                length,
                self.shared.terms.size,
            )?;
        }
        self.connection().start_read(request)?;
        self.in_flight += 1;
        Ok(())
    }

    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        if self.in_flight == 0 {
            return Err(BlockError::NothingInFlight);
        }
        let connection = self.connection();
        loop {
            if let Some(request) = connection.completed.pop_front() {
                self.in_flight -= 1;
                return Ok(request);
            }
            connection.receive()?;
        }
    }
}

impl Drop for NbdReader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.give_back(connection);
        }
    }
}
