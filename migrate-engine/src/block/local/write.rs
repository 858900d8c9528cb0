//! Writing a local disk: positioned direct writes, zeroes by one kernel call per range, flush by `fdatasync`.

use std::ops::Range;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::super::error::check_range;
use super::super::{BlockError, BufferPool, BufferSlice, Cancel, WriteWorker};
use super::{Kind, Shared, kernel};

/// How much one write of zeroes carries where the disk has no call for them.
const ZERO_PIECE: usize = 1 << 20;

pub(super) struct LocalWriter {
    shared: Arc<Shared>,
    cancel: Cancel,
}

impl LocalWriter {
    pub(super) fn new(shared: Arc<Shared>, cancel: Cancel) -> Self {
        Self { shared, cancel }
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
    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        check_range("write", offset, data.len() as u64, self.shared.size)?;
        let (whole, edge) = data.split_at(self.shared.aligned_part(data.len()));
        self.write_all("write", offset, whole)?;
        self.write_all("write", offset + whole.len() as u64, edge)
    }

    fn write_zeroes(&mut self, range: Range<u64>) -> Result<(), BlockError> {
        let Range { start, end } = range;
        check_range("zero", start, end.saturating_sub(start), self.shared.size)?;
        let mask = self.shared.alignment - 1;
        let first = (start.saturating_add(mask) & !mask).min(end);
        let last = (end & !mask).max(first);
        for edge in [start..first, last..end] {
            if !edge.is_empty() {
                self.write_zero_bytes(edge)?;
            }
        }
        if first < last {
            self.zero_granules(first..last)
        } else {
            Ok(())
        }
    }

    fn drain(&mut self) -> Result<(), BlockError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        rustix::fs::fdatasync(self.shared.buffered()).map_err(|source| BlockError::System {
            action: "flush the disk",
            source: source.into(),
        })
    }
}
