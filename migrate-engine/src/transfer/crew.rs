//! The threads of a transfer, and the loop that keeps each one's reads in flight.

use std::ops::Range;
use std::thread;

use parking_lot::Mutex;

use super::digest::BLOCK_SIZE;
use super::error::TransferError;
use super::plan::{BlockTask, Plan, Task};
use super::rate::RateLimit;
use crate::block::{BlockError, Buffer, BufferPool, Cancel, NbdError, ReadRequest, ReadWorker};

/// Length of a buffer.
const BUFFER: usize = 1 << 20;
const _: () = assert!(BUFFER as u64 == BLOCK_SIZE);

/// What a worker is given to do something with.
pub(super) enum Step {
    Zero(Range<u64>),
    /// A block of which everything was read; the buffer holds it from its start.
    Block(BlockTask, Buffer),
}

/// What a crew left behind.
pub(super) struct Outcome<L, T> {
    /// The handles, those of failed workers included.
    pub(super) lanes: Vec<L>,
    /// Results of the workers that finished.
    pub(super) results: Vec<T>,
    /// What stopped the others, if anything; interruptions only where there was no other reason.
    pub(super) failure: Option<TransferError>,
}

/// What the loop of one worker needs besides its handles.
pub(super) struct Supply<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) rate: &'a RateLimit,
    pub(super) stop: &'a Cancel,
}

/// Buffers of one worker: those that are being read into, those that its writer keeps, and the one in hand.
pub(super) fn buffers_of(depth: usize, kept: usize) -> usize {
    depth + kept + 1
}

fn has_changed(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Open {
            source: BlockError::Nbd(NbdError::Changed { .. }),
            ..
        }
    )
}

/// Runs `first` on a thread of its own, and beside it as many more as `more` says, each with a handle that it opens itself: a server may
/// take its time over each, and `first` works meanwhile. One that refuses further ones gets fewer. Until all are done; the first
/// failure stops the others. The first handle comes back first.
pub(super) fn run<L: Send, T: Send>(
    name: &str,
    first: L,
    (more, open): (usize, impl Fn() -> Result<L, TransferError> + Sync),
    stop: &Cancel,
    work: impl Fn(&mut L) -> Result<T, TransferError> + Sync,
) -> Outcome<L, T> {
    let failure: Mutex<Option<TransferError>> = Mutex::new(None);
    let fail = |error: TransferError| {
        stop.cancel();
        let mut failure = failure.lock();
        if failure.as_ref().is_none_or(TransferError::is_interruption) && !error.is_cancelled() {
            *failure = Some(error);
        }
    };
    let one = |mut lane: L| {
        let _guard = StopOnPanic(stop);
        let result = work(&mut lane).map_err(&fail).ok();
        (lane, result)
    };
    let another = || match open() {
        Ok(lane) => Some(one(lane)),
        Err(error) if error.is_interruption() || has_changed(&error) => {
            fail(error);
            None
        }
        Err(error) => {
            tracing::warn!(%error, "going on with a worker less");
            None
        }
    };
    let (mut lanes, mut results) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let named = || thread::Builder::new().name(name.to_owned());
        let begun = named().spawn_scoped(scope, || Some(one(first)));
        let mut threads = vec![begun];
        threads.extend((0..more).map(|_| named().spawn_scoped(scope, another)));
        for thread in threads {
            match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(Some((lane, result)))) => {
                    lanes.push(lane);
                    results.extend(result);
                }
                Ok(Ok(None)) => {}
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(source) => fail(TransferError::Thread { source }),
            }
        }
    });
    Outcome {
        lanes,
        results,
        failure: failure.into_inner(),
    }
}

/// A worker that dies of a bug must not leave the others working for minutes.
struct StopOnPanic<'a>(&'a Cancel);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Takes tasks until there are none, keeps as many reads in flight as the reader wants, and hands over what is ready. Whoever
/// takes it keeps no more than `kept` buffers.
pub(super) fn drive(
    reader: &mut dyn ReadWorker,
    kept: usize,
    supply: &Supply<'_>,
    mut each: impl FnMut(Step) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let most = reader.most_depth().max(1);
    let alignment = usize::try_from(supply.plan.alignment).expect("an alignment is at most 64 KiB");
    let pool = BufferPool::new(buffers_of(most, kept), BUFFER, alignment);
    let mut in_flight: Vec<BlockTask> = Vec::with_capacity(most);
    let mut held = None;
    loop {
        while in_flight.len() < reader.depth().clamp(1, most) {
            let next = match held.take() {
                Some(block) => Some(Task::Block(block)),
                None => supply.next(reader)?,
            };
            let Some(task) = next else { break };
            match task {
                Task::Zero(range) => each(Step::Zero(range))?,
                // Under a cap, what was read is written before more is waited for: a crash would lose it.
                Task::Block(block) if !in_flight.is_empty() && !supply.rate.try_take(block.data_bytes()) => {
                    held = Some(block);
                    break;
                }
                Task::Block(block) => {
                    if in_flight.is_empty() {
                        supply.wait_for(&block)?;
                    }
                    let buffer = pool.take().expect("one buffer more than are read into and kept");
                    supply.submit(reader, &block, buffer)?;
                    in_flight.push(block);
                }
            }
        }
        if in_flight.is_empty() {
            return Ok(());
        }
        let mut request = reader.complete().map_err(|source| {
            let oldest = in_flight
                .iter()
                .map(|block| (block.offset(), block.length as u64))
                .min();
            TransferError::read(oldest.unwrap_or((0, 0)), source)
        })?;
        let found = in_flight
            .iter()
            .position(|block| block.offset() == request.offset);
        let block = in_flight.swap_remove(found.expect("a reader gives back only what was submitted"));
        block.clear_gaps(&mut request.buffer);
        each(Step::Block(block, request.buffer))?;
    }
}

impl Supply<'_> {
    fn next(&self, reader: &mut dyn ReadWorker) -> Result<Option<Task>, TransferError> {
        if self.stop.is_cancelled() {
            return Err(TransferError::read((0, 0), BlockError::Interrupted));
        }
        self.plan.next(reader)
    }

    fn submit(
        &self,
        reader: &mut dyn ReadWorker,
        block: &BlockTask,
        buffer: Buffer,
    ) -> Result<(), TransferError> {
        let place = (block.offset(), block.length as u64);
        let request = ReadRequest {
            offset: block.offset(),
            buffer,
            wanted: block.wanted(),
        };
        reader
            .submit(request)
            .map_err(|source| TransferError::read(place, source))
    }

    /// Waits until the cap lets a block through.
    fn wait_for(&self, block: &BlockTask) -> Result<(), TransferError> {
        let place = (block.offset(), block.length as u64);
        let taken = self.rate.take(block.data_bytes(), self.stop);
        taken.map_err(|source| TransferError::read(place, source))
    }
}
