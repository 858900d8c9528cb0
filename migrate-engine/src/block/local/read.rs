//! Reading a local disk: positioned direct reads, and a file's own map of data and holes.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::super::error::check_range;
use super::super::{BlockError, Buffer, BufferPool, Cancel, Extent, ReadRequest, ReadWorker, extent};
use super::{Kind, Shared};

pub(super) struct LocalReader {
    shared: Arc<Shared>,
    cancel: Cancel,
    queued: VecDeque<ReadRequest>,
    /// One granule, for a last one that direct I/O can only read whole.
    edge: BufferPool,
}

impl LocalReader {
    pub(super) fn new(shared: Arc<Shared>, cancel: Cancel) -> Self {
        let granule = usize::try_from(shared.alignment).expect("an alignment is at most 64 KiB");
        Self {
            edge: BufferPool::new(1, granule, granule),
            shared,
            cancel,
            queued: VecDeque::new(),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), BlockError> {
        check_range("read", offset, bytes.len() as u64, self.shared.size)?;
        let (whole, edge) = bytes.split_at_mut(self.shared.aligned_part(bytes.len()));
        self.read_run(offset, whole)?;
        if edge.is_empty() {
            Ok(())
        } else {
            self.read_edge(offset + whole.len() as u64, edge)
        }
    }

    /// Reads by direct I/O where it fits, through the page cache where not.
    fn read_run(&self, mut offset: u64, mut bytes: &mut [u8]) -> Result<(), BlockError> {
        let mut direct_works = true;
        while !bytes.is_empty() {
            let direct = self.shared.direct_for(offset, bytes).filter(|_| direct_works);
            let descriptor = direct.unwrap_or(self.shared.buffered());
            let length = bytes.len() as u64;
            let count = match rustix::io::pread(descriptor, &mut *bytes, offset) {
                Ok(0) => {
                    return Err(BlockError::EndedEarly {
                        offset,
                        missing: length,
                    });
                }
                Ok(count) => count,
                Err(Errno::INTR) => 0,
                // Some file systems refuse a direct read they cannot align; the cache serves it as well.
                Err(Errno::INVAL) if direct.is_some() => {
                    direct_works = false;
                    0
                }
                Err(source) => {
                    return Err(BlockError::Transfer {
                        action: "read",
                        offset,
                        length,
                        source: source.into(),
                    });
                }
            };
            offset += count as u64;
            bytes = &mut bytes[count..];
        }
        Ok(())
    }

    /// Reads the piece after the last whole granule: the granule it lies in, as far as the disk goes, by direct I/O.
    fn read_edge(&self, offset: u64, bytes: &mut [u8]) -> Result<(), BlockError> {
        let aligned = offset.is_multiple_of(self.shared.alignment);
        let (Some(direct), Some(mut edge), true) = (&self.shared.direct, self.edge.take(), aligned) else {
            return self.read_run(offset, bytes);
        };
        // A direct read may ask past the end and comes back short; a device's size is a multiple of its block.
        match rustix::io::pread(direct, &mut *edge, offset) {
            Ok(count) if count >= bytes.len() => {
                bytes.copy_from_slice(&edge[..bytes.len()]);
                Ok(())
            }
            _ => self.read_run(offset, bytes),
        }
    }

    fn file_extents(&self, range: &Range<u64>) -> Result<Vec<Extent>, BlockError> {
        let mut extents = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some(data) = seek(self.shared.buffered(), SeekFrom::Data(at), range)? else {
                extents.push(Extent::zero(at..range.end));
                break;
            };
            let data = data.clamp(at, range.end);
            extents.push(Extent::zero(at..data));
            let hole = seek(self.shared.buffered(), SeekFrom::Hole(data), range)?;
            at = hole.unwrap_or(range.end).clamp(data, range.end);
            extents.push(Extent::data(data..at));
        }
        Ok(extent::merge(extents))
    }
}

/// The next data or hole; `None` where there is none before the end of the file.
fn seek(file: BorrowedFd<'_>, to: SeekFrom, range: &Range<u64>) -> Result<Option<u64>, BlockError> {
    match rustix::fs::seek(file, to) {
        Ok(position) => Ok(Some(position)),
        Err(Errno::NXIO) => Ok(None),
        // No map on this file system: everything may be data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => match to {
            SeekFrom::Data(at) => Ok(Some(at)),
            _ => Ok(None),
        },
        Err(source) => Err(BlockError::Transfer {
            action: "look for holes",
            offset: range.start,
            length: range.end - range.start,
            source: source.into(),
        }),
    }
}

impl ReadWorker for LocalReader {
    fn depth(&self) -> usize {
        1
    }

    fn extents(&mut self, range: Range<u64>) -> Result<Vec<Extent>, BlockError> {
        check_range(
            "map",
            range.start,
            range.end.saturating_sub(range.start),
            self.shared.size,
        )?;
        match self.shared.kind {
            Kind::Device => Ok(extent::merge([Extent::data(range)])),
            Kind::File => self.file_extents(&range),
        }
    }

    fn submit(&mut self, request: ReadRequest) -> Result<(), BlockError> {
        self.queued.push_back(request);
        Ok(())
    }

    fn complete(&mut self) -> Result<ReadRequest, BlockError> {
        let mut request = self.queued.pop_front().ok_or(BlockError::NothingInFlight)?;
        for part in &request.wanted {
            if self.cancel.is_cancelled() {
                return Err(BlockError::Interrupted);
            }
            let buffer: &mut Buffer = &mut request.buffer;
            self.read(request.offset + part.start as u64, &mut buffer[part.clone()])
                .map_err(|failure| self.shared.judge(failure))?;
        }
        Ok(request)
    }
}
