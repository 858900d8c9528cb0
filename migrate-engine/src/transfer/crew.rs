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

/// Opens up to `count` handles: the first must open, and is given something to do while the others are opened, because a server
/// may take its time over each. One that refuses further ones gets fewer.
pub(super) fn open<L: Send>(
    count: usize,
    open: impl Fn() -> Result<L, TransferError> + Sync,
    meanwhile: impl FnOnce(&mut L) -> Result<(), TransferError>,
) -> Result<Vec<L>, TransferError> {
    let mut first = open()?;
    let (done, opened) = thread::scope(|scope| {
        let opening: Vec<_> = (1..count)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, &open).ok())
            .collect();
        let done = meanwhile(&mut first);
        let opened: Vec<_> = opening
            .into_iter()
            .map(|opening| match opening.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect();
        (done, opened)
    });
    done?;
    let mut lanes = vec![first];
    for opened in opened {
        match opened {
            Ok(lane) => lanes.push(lane),
            Err(error) if error.is_interruption() || has_changed(&error) => return Err(error),
            Err(error) => tracing::warn!(%error, "going on with a worker less"),
        }
    }
    Ok(lanes)
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

/// Runs one thread per handle until all are done; the first failure stops the others.
pub(super) fn run<L: Send, T: Send>(
    name: &str,
    lanes: Vec<L>,
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
    let (mut back, mut results) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for lane in lanes {
            match thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, || one(lane))
            {
                Ok(thread) => threads.push(thread),
                Err(source) => fail(TransferError::Thread { source }),
            }
        }
        for thread in threads {
            match thread.join() {
                Ok((lane, result)) => {
                    back.push(lane);
                    results.extend(result);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Outcome {
        lanes: back,
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
