//! Writing a local disk: direct writes, a few in the kernel's hands at a time, zeroes by one kernel call per range, flush by
//! `fdatasync`.

use std::ops::Range;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::super::error::check_range;
use super::super::{BlockError, BufferPool, BufferSlice, Cancel, WriteWorker};
use super::ring::{Queued, Ring};
use super::{Kind, Shared, kernel};

/// How much one write of zeroes carries where the disk has no call for them.
const ZERO_PIECE: usize = 1 << 20;

/// Direct writes that a worker leaves to the kernel at a time.
pub(super) const DEPTH: usize = 4;

pub(super) struct LocalWriter {
    shared: Arc<Shared>,
    cancel: Cancel,
    /// Absent where the kernel lets us have none: then writes are waited for one by one.
    ring: Option<Ring>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// A write failed: nothing may be taken for durable any more.
    Spent,
}

impl LocalWriter {
    pub(super) fn new(shared: Arc<Shared>, cancel: Cancel) -> Self {
        let ring = shared.direct.as_ref().and_then(|_| {
            let ring = Ring::new(DEPTH);
            ring.inspect_err(|error| tracing::debug!(%error, "no io_uring: writes are waited for one by one"))
                .ok()
        });
        Self {
            shared,
            cancel,
            ring,
            state: State::Sound,
        }
    }

    fn note<T>(&mut self, outcome: Result<T, BlockError>) -> Result<T, BlockError> {
        outcome.map_err(|failure| {
            self.state = State::Spent;
            self.shared.judge(failure)
        })
    }

    fn usable(&self) -> Result<(), BlockError> {
        match self.state {
            State::Sound => Ok(()),
            State::Spent => Err(BlockError::System {
                action: "go on after a write that failed",
                source: std::io::ErrorKind::BrokenPipe.into(),
            }),
        }
    }

    /// Gives a part of whole granules to the kernel, or writes it where that is not possible.
    fn queue(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        self.settle_ended()?;
        if self.ring.as_ref().is_some_and(Ring::is_full) {
            self.settle_one()?;
        }
        let direct = self.shared.direct_for(offset, &data);
        let (Some(ring), Some(direct)) = (&mut self.ring, direct) else {
            return self.write_all("write", offset, &data);
        };
        let length = data.len() as u64;
        ring.push(direct, Queued { offset, data })
            .map_err(|source| BlockError::Transfer {
                action: "write",
                offset,
                length,
                source,
            })
    }

    /// Waits for one write.
    fn settle_one(&mut self) -> Result<(), BlockError> {
        let Some(ring) = self.ring.as_mut().filter(|ring| !ring.is_empty()) else {
            return Ok(());
        };
        let ended = ring.reap().map_err(cannot_wait)?;
        self.judge(ended)
    }

    /// Gives back the buffers of all that have ended, without a wait.
    fn settle_ended(&mut self) -> Result<(), BlockError> {
        while let Some(ring) = self.ring.as_mut()
            && let Some(ended) = ring.ended().map_err(cannot_wait)?
        {
            self.judge(ended)?;
        }
        Ok(())
    }

    /// What the kernel did not write, or did not want to, is written here.
    fn judge(
        &self,
        (Queued { offset, data }, result): (Queued, std::io::Result<usize>),
    ) -> Result<(), BlockError> {
        let again = |error: &std::io::Error| match Errno::from_io_error(error) {
            Some(Errno::INTR | Errno::AGAIN) => true,
            // As in `write_all`.
            Some(Errno::INVAL) => self.shared.kind == Kind::File,
            _ => false,
        };
        match result {
            Ok(written) if written == data.len() => Ok(()),
            Ok(written) => self.write_all("write", offset + written as u64, &data[written..]),
            Err(error) if again(&error) => self.write_all("write", offset, &data),
            Err(source) => Err(BlockError::Transfer {
                action: "write",
                offset,
                length: data.len() as u64,
                source,
            }),
        }
    }

    fn settle(&mut self) -> Result<(), BlockError> {
        while self.ring.as_ref().is_some_and(|ring| !ring.is_empty()) {
            self.settle_one()?;
        }
        Ok(())
    }

    fn write_all(&self, action: &'static str, mut offset: u64, mut bytes: &[u8]) -> Result<(), BlockError> {
        let mut direct_works = true;
        while !bytes.is_empty() {
            let direct = self.shared.direct_for(offset, bytes).filter(|_| direct_works);
            let descriptor = direct.unwrap_or(self.shared.buffered());
            let length = bytes.len() as u64;
            let failed = |source: std::io::Error| BlockError::Transfer {
                action,
                offset,
                length,
                source,
            };
            let count = match rustix::io::pwrite(descriptor, bytes, offset) {
                Ok(0) => return Err(failed(std::io::ErrorKind::WriteZero.into())),
                Ok(count) => count,
                Err(Errno::INTR) => 0,
                // A file system may want a coarser alignment than we keep; its cache takes any.
                Err(Errno::INVAL) if direct.is_some() && self.shared.kind == Kind::File => {
                    direct_works = false;
                    0
                }
                Err(source) => return Err(failed(source.into())),
            };
            offset += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Zeroes whole granules by a kernel call, or by writing where there is none.
    fn zero_granules(&self, range: Range<u64>) -> Result<(), BlockError> {
        let (offset, length) = (range.start, range.end - range.start);
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // On a device this unmaps where zeroes are promised to be read afterwards, and refuses where they are not.
        let mut outcome = rustix::fs::fallocate(self.shared.buffered(), punch, offset, length);
        if outcome.is_err() && self.shared.kind == Kind::Device {
            outcome = kernel::zero_out(self.shared.buffered(), offset, length);
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::NOTTY) => {
                self.write_zero_bytes(range)
            }
            Err(source) => Err(BlockError::Transfer {
                action: "zero",
                offset,
                length,
                source: source.into(),
            }),
        }
    }

    fn write_zero_bytes(&self, range: Range<u64>) -> Result<(), BlockError> {
        let piece = ZERO_PIECE.min(usize::try_from(range.end - range.start).unwrap_or(ZERO_PIECE));
        let alignment = usize::try_from(self.shared.alignment).expect("an alignment is at most 64 KiB");
        let pool = BufferPool::new(1, piece, alignment);
        let zeroes = pool.take().expect("a new pool of one has one buffer");
        let mut at = range.start;
        while at < range.end {
            if self.cancel.is_cancelled() {
                return Err(BlockError::Interrupted);
            }
            let count = piece.min(usize::try_from(range.end - at).unwrap_or(piece));
            self.write_all("zero", at, &zeroes[..count])?;
            at += count as u64;
        }
        Ok(())
    }
}

impl WriteWorker for LocalWriter {
    fn depth(&self) -> usize {
        if self.ring.is_some() { DEPTH } else { 0 }
    }

    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        self.usable()?;
        check_range("write", offset, data.len() as u64, self.shared.size)?;
        let cut = self.shared.aligned_part(data.len());
        let (whole, edge) = data.split(cut);
        let mut written = Ok(());
        if !whole.is_empty() {
            written = self.queue(offset, whole);
        }
        let written = written.and_then(|()| self.write_all("write", offset + cut as u64, &edge));
        self.note(written)
    }

    fn write_zeroes(&mut self, range: Range<u64>) -> Result<(), BlockError> {
        self.usable()?;
        let Range { start, end } = range;
        check_range("zero", start, end.saturating_sub(start), self.shared.size)?;
        let mask = self.shared.alignment - 1;
        let first = (start.saturating_add(mask) & !mask).min(end);
        let last = (end & !mask).max(first);
        let mut zeroed = Ok(());
        for edge in [start..first, last..end] {
            if !edge.is_empty() && zeroed.is_ok() {
                zeroed = self.write_zero_bytes(edge);
            }
        }
        if first < last && zeroed.is_ok() {
            zeroed = self.zero_granules(first..last);
        }
        self.note(zeroed)
    }

    fn drain(&mut self) -> Result<(), BlockError> {
        self.usable()?;
        let settled = self.settle();
        self.note(settled)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.drain()?;
        let flushed = rustix::fs::fdatasync(self.shared.buffered()).map_err(|source| BlockError::System {
            action: "flush the disk",
            source: source.into(),
        });
        self.note(flushed)
    }
}

fn cannot_wait(source: std::io::Error) -> BlockError {
    BlockError::System {
        action: "wait for a write",
        source,
    }
}
