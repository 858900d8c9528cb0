//! Reading an export: pipelined reads, and its block status in bounded windows. A line that is lost is taken up again: what
//! was asked and not answered is asked once more.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::error::check_range;
use super::super::{BlockError, Cancel, Extent, ReadRequest, ReadWorker, extent};
use super::Shared;
use super::connection::{Connection, Pending};
use super::error::NbdError;
use super::pace::Pace;
use super::wire::Command;

/// The largest range whose block status is asked at once.
const STATUS_WINDOW: u64 = 2 << 30;

/// Between two attempts to reach a server that is gone.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);
/// How often a line may be lost before a read has come through it.
const MOST_LOSSES: u32 = 5;

pub(super) struct NbdReader {
    shared: Arc<Shared>,
    cancel: Cancel,
    /// Present until the drop.
    connection: Option<Connection>,
    in_flight: usize,
    pace: Pace,
    /// How often the line was lost since a read came through.
    losses: u32,
    /// How often the server has failed the reads that begin there.
    failed_reads: HashMap<u64, u32>,
}

impl NbdReader {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, cancel: Cancel) -> Self {
        let depth = shared.options.depth.min(shared.options.most_depth).max(1);
        let pace = Pace::new(depth, Instant::now(), connection.starved);
        Self {
            shared,
            cancel,
            connection: Some(connection),
            in_flight: 0,
            pace,
            losses: 0,
            failed_reads: HashMap::new(),
        }
    }

    /// Does a step; where the line is lost meanwhile, or the server fails a read, takes the line up again and repeats it.
    fn persist<T>(
        &mut self,
        mut step: impl FnMut(&mut Connection) -> Result<T, NbdError>,
    ) -> Result<T, NbdError> {
        loop {
            match step(self.connection()) {
                Ok(done) => return Ok(done),
                Err(error) => self.recover(error)?,
            }
        }
    }

    /// Connects again after `error`, where that helps, and asks again for what was not answered.
    fn recover(&mut self, mut error: NbdError) -> Result<(), NbdError> {
        loop {
            if !self.may_try_again(&error) {
                return Err(error);
            }
            tracing::warn!(%error, export = self.shared.uri.export, "reading again what was not answered");
            let lost = self.connection();
            let (unanswered, answered) = (lost.take_reads(), std::mem::take(&mut lost.completed));
            let mut connection = self.reconnect(&error)?;
            connection.completed = answered;
            let mut again = Ok(());
            for request in unanswered {
                // One that cannot be sent stays with the connection, and is taken from there.
                again = again.and(connection.start_read(request));
            }
            self.connection = Some(connection);
            match again {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    fn may_try_again(&mut self, error: &NbdError) -> bool {
        if self.shared.options.reconnect_for.is_zero() {
            return false;
        }
        match error {
            NbdError::Request { action, offset, .. } if *action == Command::Read.verb() => {
                let failed = self.failed_reads.entry(*offset).or_default();
                *failed += 1;
                *failed <= self.shared.options.read_retries
            }
            error if error.is_loss() => {
                self.losses += 1;
                self.losses <= MOST_LOSSES
            }
            _ => false,
        }
    }

    /// A connection to the same export as before.
    fn reconnect(&self, lost: &NbdError) -> Result<Connection, NbdError> {
        let began = Instant::now();
        loop {
            match self.shared.fresh_connection(&self.cancel) {
                Ok(mut connection) => {
                    connection.set_cancel(&self.cancel, Duration::ZERO);
                    return Ok(connection);
                }
                Err(error) => {
                    let is_gone = error.is_loss() || matches!(error, NbdError::Connect { .. });
                    if !is_gone || began.elapsed() >= self.shared.options.reconnect_for {
                        let seconds = began.elapsed().as_secs();
                        return Err(match is_gone {
                            true => NbdError::Lost {
                                seconds,
                                why: lost.to_string(),
                                now: error.to_string(),
                            },
                            false => error,
                        });
                    }
                }
            }
            let pause = Instant::now() + BETWEEN_ATTEMPTS;
            while Instant::now() < pause {
                if self.cancel.is_cancelled() {
                    return Err(NbdError::Cancelled);
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the pause between attempts, cut into slices"
                )]
                std::thread::sleep(Duration::from_millis(50));
            }
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
        self.persist(|connection| {
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
        })
    }
}

impl ReadWorker for NbdReader {
    fn depth(&self) -> usize {
        self.pace.depth()
    }

    fn most_depth(&self) -> usize {
        self.shared.options.most_depth.max(1)
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
            // That a map takes its time says nothing of reading.
            self.pace = Pace::new(self.pace.depth(), Instant::now(), self.connection().starved);
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
        self.in_flight += 1;
        match self.connection().start_read(request) {
            Ok(()) => Ok(()),
            Err(error) => Ok(self.recover(error)?),
        }
    }

    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        if self.in_flight == 0 {
            return Err(BlockError::NothingInFlight);
        }
        let request = self.persist(|connection| {
            loop {
                if let Some(request) = connection.completed.pop_front() {
                    return Ok(request);
                }
                connection.receive()?;
            }
        })?;
        self.in_flight -= 1;
        self.losses = 0;
        let (most, starved) = (self.most_depth(), self.connection().starved);
        self.pace.completed(Instant::now(), starved, most);
        Ok(request)
    }
}

impl Drop for NbdReader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.give_back(connection);
        }
    }
}
