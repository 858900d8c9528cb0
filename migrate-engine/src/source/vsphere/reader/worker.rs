//! One thread's handle on a disk: a task per buffer, and the wait for any of them.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::FolderFile;
use super::allocated::tiled;
use super::runs::runs;
use super::{FolderDisk, RequestLimit};
use crate::block::{BlockError, BlockRead, Cancel, Extent, ReadRequest, ReadWorker, check_range, extent};

/// How long a wait may overlook that it was cancelled.
const LOOK: Duration = Duration::from_millis(50);

type Outcome = Result<ReadRequest, BlockError>;

pub(super) struct FolderReader {
    disk: FolderDisk,
    cancel: Cancel,
    /// They end with this.
    tasks: JoinSet<()>,
    /// Submitted, and not given back.
    in_flight: usize,
    /// Holds one outcome per read in flight at most.
    ended: Receiver<Outcome>,
    /// What tasks get a clone of; kept, so that the channel stays open.
    to_us: Sender<Outcome>,
}

/// The runtime ended under a read, or the read's task has a bug.
#[derive(Debug, thiserror::Error)]
#[error("the read was given up, because the program ends or its task failed")]
struct GivenUp;

impl FolderReader {
    pub(super) fn new(disk: FolderDisk, cancel: Cancel) -> Self {
        let (to_us, ended) = channel();
        Self {
            disk,
            cancel,
            tasks: JoinSet::new(),
            in_flight: 0,
            ended,
            to_us,
        }
    }

    fn check_cancel(&mut self) -> Result<(), BlockError> {
        if !self.cancel.is_cancelled() {
            return Ok(());
        }
        self.tasks.abort_all();
        Err(BlockError::Interrupted)
    }
}

impl ReadWorker for FolderReader {
    fn depth(&self) -> usize {
        self.disk.depth()
    }

    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        let length = range.end.saturating_sub(range.start);
        check_range("map", range.start, length, self.disk.size())?;
        Ok(match &self.disk.allocated {
            Some(areas) => tiled(areas, &range),
            None => extent::merge([Extent::data(range)]),
        })
    }

    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        self.check_cancel()?;
        for part in &request.wanted {
            let offset = request.offset + part.start as u64;
            check_range("read", offset, part.len() as u64, self.disk.size())?;
        }
        while self.tasks.try_join_next().is_some() {} // their outcomes came through the channel
        let news = News::of(&request, &self.to_us);
        let (file, limit) = (self.disk.file.clone(), self.disk.options.requests.clone());
        let read = async move {
            let outcome = fill(&file, &limit, request).await;
            news.send(outcome);
        };
        self.tasks.spawn_on(read, &self.disk.runtime);
        self.in_flight += 1;
        Ok(())
    }

    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        if self.in_flight == 0 {
            return Err(BlockError::NothingInFlight);
        }
        let outcome = loop {
            self.check_cancel()?;
            // Never closed, since we hold a sender: without an outcome only time has passed.
            if let Ok(outcome) = self.ended.recv_timeout(LOOK) {
                break outcome;
            }
        };
        self.in_flight -= 1;
        if outcome.is_err() {
            self.tasks.abort_all();
        }
        outcome
    }
}

/// Reads what is wanted, one range after the other: it is the many buffers that are read at once.
async fn fill(file: &FolderFile, limit: &RequestLimit, mut request: ReadRequest) -> Outcome {
    for run in runs(&request.wanted) {
        // The buffer has no memory before its turn comes.
        let _turn = limit.take().await;
        let spared = run.spare(&request.buffer);
        let offset = request.offset + run.range.start as u64;
        let place = &mut request.buffer[run.range.clone()];
        let length = place.len() as u64;
        file.read_at(offset, place)
            .await
            .map_err(|error| BlockError::Remote {
                offset,
                length,
                source: error.into(),
            })?;
        spared.put_back(&mut request.buffer);
    }
    Ok(request)
}

/// How a read ended; told in any case, because somebody waits for it: by a drop it says that the read was given up.
struct News {
    place: (u64, u64),
    to: Option<Sender<Outcome>>,
}

impl News {
    fn of(request: &ReadRequest, to: &Sender<Outcome>) -> Self {
        let start = request.wanted.first().map_or(0, |part| part.start);
        let end = request.wanted.last().map_or(start, |part| part.end);
        Self {
            place: (request.offset + start as u64, (end - start) as u64),
            to: Some(to.clone()),
        }
    }

    fn send(mut self, outcome: Outcome) {
        let to = self.to.take().expect("it is sent once");
        // Nobody is there any more: the worker was dropped.
        let _ = to.send(outcome);
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let Some(to) = self.to.take() else { return };
        let (offset, length) = self.place;
        let _ = to.send(Err(BlockError::Remote {
            offset,
            length,
            source: GivenUp.into(),
        }));
    }
}
