//! Taking one reply apart: every length and range is checked against the request before a byte is stored.

use std::io::{BufReader, Read};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::Extent;
use super::connection::{Connection, Pending};
use super::error::{NbdError, printable};
use super::handshake::StatusKind;
use super::socket::Socket;
use super::wire::{self, Command};

/// A server that works without a pause, on a machine that is busy, is not noticed by this.
const A_MOMENT: Duration = Duration::from_millis(2);

/// Error chunks that one request may get before its end.
const MOST_ERROR_CHUNKS: usize = 16;

/// The header of a structured reply's chunk.
struct Chunk {
    flags: u16,
    kind: u16,
    length: u32,
}

impl Connection {
    pub(super) fn receive_message(&mut self) -> Result<(), NbdError> {
        let began = Instant::now();
        let magic = self.number32()?;
        let waited = began.elapsed();
        if waited > A_MOMENT {
            self.starved += waited;
        }
        match magic {
            wire::SIMPLE_REPLY_MAGIC => self.receive_simple(),
            wire::STRUCTURED_REPLY_MAGIC if self.terms.structured_replies => self.receive_chunk(),
            magic => Err(NbdError::protocol(format!("a reply that starts with {magic:#x}"))),
        }
    }

    fn receive_simple(&mut self) -> Result<(), NbdError> {
        let error = self.number32()?;
        let cookie = self.number64()?;
        let mut pending = self.take_pending(cookie)?;
        if !pending.arrived.is_empty() || pending.error_chunks > 0 {
            return Err(NbdError::protocol(
                "a simple reply in the middle of a structured one",
            ));
        }
        if error != 0 {
            pending.failure = Some(pending.failed(error, String::new()));
            return self.finish(pending);
        }
        match pending.command {
            Command::Read if self.terms.structured_replies => Err(NbdError::protocol(
                "a simple reply to a read, after agreeing on structured replies",
            )),
            Command::BlockStatus => Err(NbdError::protocol("a simple reply to a block status request")),
            Command::Read => {
                let part = pending.claim(pending.offset, pending.length)?;
                self.receive_data(&pending, part)?;
                self.finish(pending)
            }
            _ => self.finish(pending),
        }
    }

    fn receive_chunk(&mut self) -> Result<(), NbdError> {
        let flags = self.number16()?;
        let kind = self.number16()?;
        let cookie = self.number64()?;
        let length = self.number32()?;
        let chunk = Chunk { flags, kind, length };
        let mut pending = self.take_pending(cookie)?;
        match (kind, pending.command) {
            (wire::CHUNK_NONE, _) if length == 0 && chunk.is_last() => {}
            (wire::CHUNK_OFFSET_DATA, Command::Read) => self.receive_offset_data(&mut pending, &chunk)?,
            (wire::CHUNK_OFFSET_HOLE, Command::Read) => self.receive_offset_hole(&mut pending, &chunk)?,
            (wire::CHUNK_BLOCK_STATUS, Command::BlockStatus) => self.receive_extents(&mut pending, &chunk)?,
            (kind, _) if kind & wire::CHUNK_ERROR_BIT != 0 => self.receive_error(&mut pending, &chunk)?,
            (kind, command) => {
                let what = format!(
                    "a chunk of type {kind} and {length} bytes for a {} request",
                    command.verb()
                );
                return Err(NbdError::protocol(what));
            }
        }
        if chunk.is_last() {
            return self.finish(pending);
        }
        self.pending.insert(cookie, pending);
        Ok(())
    }

    fn receive_offset_data(&mut self, pending: &mut Pending, chunk: &Chunk) -> Result<(), NbdError> {
        if chunk.length <= 8 {
            return Err(NbdError::protocol("a data chunk without data"));
        }
        let offset = self.number64()?;
        let part = pending.claim(offset, chunk.length - 8)?;
        self.receive_data(pending, part)
    }

    fn receive_offset_hole(&mut self, pending: &mut Pending, chunk: &Chunk) -> Result<(), NbdError> {
        if chunk.length != 12 {
            return Err(NbdError::protocol(format!(
                "a hole chunk of {} bytes",
                chunk.length
            )));
        }
        let offset = self.number64()?;
        let length = self.number32()?;
        let part = pending.claim(offset, length)?;
        self.destination(pending, part)?.0.fill(0);
        Ok(())
    }

    /// Stores payload for a part of a request, counted from the request's start.
    fn receive_data(&mut self, pending: &Pending, part: Range<u64>) -> Result<(), NbdError> {
        let patience = self.patience;
        let (destination, stream) = self.destination(pending, part)?;
        let ahead = stream.buffer().len().min(destination.len());
        let received = stream
            .read_exact(&mut destination[..ahead])
            .and_then(|()| stream.get_mut().fill(&mut destination[ahead..]));
        received.map_err(|error| NbdError::transport("receive from", error, patience))
    }

    fn destination(
        &mut self,
        pending: &Pending,
        part: Range<u64>,
    ) -> Result<(&mut [u8], &mut BufReader<Socket>), NbdError> {
        let place = pending
            .place
            .and_then(|(ticket, at)| Some((self.reads.get_mut(&ticket)?, at)));
        let (read, at) = place.ok_or_else(|| NbdError::protocol("data for a request that takes none"))?;
        let index = |value: u64| usize::try_from(value).expect("a claimed part lies inside its request");
        let buffer = &mut read.request.buffer[at + index(part.start)..at + index(part.end)];
        Ok((buffer, &mut self.stream))
    }

    fn receive_extents(&mut self, pending: &mut Pending, chunk: &Chunk) -> Result<(), NbdError> {
        let payload = chunk.length.wrapping_sub(4);
        if chunk.length < 12 || chunk.length > wire::LONGEST_STATUS_CHUNK || !payload.is_multiple_of(8) {
            return Err(NbdError::protocol(format!(
                "a block status chunk of {} bytes",
                chunk.length
            )));
        }
        if Some(self.number32()?) != self.terms.status_context || pending.extents.is_some() {
            return Err(NbdError::protocol(
                "block status of a context that was not asked for",
            ));
        }
        let mut extents = Vec::new();
        let mut at = pending.offset;
        let asked = pending.offset + u64::from(pending.length);
        for _ in 0..payload / 8 {
            let length = u64::from(self.number32()?);
            let state = self.number32()?;
            let end = at + length;
            if length == 0 || at >= asked || end > self.terms.size {
                return Err(NbdError::protocol(format!(
                    "an extent of {length} bytes at offset {at}"
                )));
            }
            // The last one may tell of more than was asked.
            let range = at..end.min(asked);
            let is_data = match self.terms.status {
                StatusKind::Allocation => state & wire::STATE_ZERO == 0,
                StatusKind::Dirty => state & wire::STATE_DIRTY != 0,
            };
            extents.push(if is_data {
                Extent::data(range)
            } else {
                Extent::zero(range)
            });
            at = end;
        }
        pending.extents = Some(extents);
        Ok(())
    }

    fn receive_error(&mut self, pending: &mut Pending, chunk: &Chunk) -> Result<(), NbdError> {
        pending.error_chunks += 1;
        if chunk.length > wire::LONGEST_ERROR_CHUNK || pending.error_chunks > MOST_ERROR_CHUNKS {
            return Err(NbdError::protocol(format!(
                "an error chunk of {} bytes, or too many",
                chunk.length
            )));
        }
        let mut payload = vec![0; chunk.length as usize];
        self.fill(&mut payload)?;
        let broken = || NbdError::protocol("an error chunk that is too short for what it says");
        let (error, message) = match chunk.kind {
            wire::CHUNK_ERROR | wire::CHUNK_ERROR_OFFSET => {
                let (error, rest) = payload.split_first_chunk::<4>().ok_or_else(broken)?;
                let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
                let message = rest
                    .get(..usize::from(u16::from_be_bytes(*length)))
                    .ok_or_else(broken)?;
                (u32::from_be_bytes(*error), printable(message))
            }
            kind => (0, format!("error chunk of type {kind:#x}")),
        };
        pending.failure = Some(pending.failed(error, message));
        Ok(())
    }

    /// The last reply of a request came: hands its outcome to whom it belongs.
    fn finish(&mut self, mut pending: Pending) -> Result<(), NbdError> {
        let failure = pending.failure.take();
        match (pending.command, failure) {
            (Command::BlockStatus, Some(failure)) => self.mapped = Some(Err(failure)),
            (Command::BlockStatus, None) => {
                let extents = pending
                    .extents
                    .ok_or_else(|| NbdError::protocol("block status without extents"))?;
                self.mapped = Some(Ok(extents));
            }
            (_, Some(failure)) => return Err(failure),
            (Command::Read, None) => return self.finish_read(&pending),
            (_, None) => {}
        }
        Ok(())
    }

    fn finish_read(&mut self, pending: &Pending) -> Result<(), NbdError> {
        let whole = 0..u64::from(pending.length);
        if pending.arrived.as_slice() != std::slice::from_ref(&whole) {
            let what = format!(
                "a read of {} bytes at {} was answered in part",
                pending.length, pending.offset
            );
            return Err(NbdError::protocol(what));
        }
        let Some((ticket, _)) = pending.place else {
            return Ok(());
        };
        let Some(read) = self.reads.get_mut(&ticket) else {
            return Ok(());
        };
        read.parts_left -= 1;
        if read.parts_left == 0
            && let Some(read) = self.reads.remove(&ticket)
        {
            self.completed.push_back(read.request);
        }
        Ok(())
    }

    fn take_pending(&mut self, cookie: u64) -> Result<Pending, NbdError> {
        self.pending
            .remove(&cookie)
            .ok_or_else(|| NbdError::protocol("a reply to a request that was not sent"))
    }

    fn number16(&mut self) -> Result<u16, NbdError> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn number32(&mut self) -> Result<u32, NbdError> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn number64(&mut self) -> Result<u64, NbdError> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], NbdError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NbdError> {
        let patience = self.patience;
        self.stream
            .read_exact(bytes)
            .map_err(|error| NbdError::transport("receive from", error, patience))
    }
}

impl Chunk {
    fn is_last(&self) -> bool {
        self.flags & wire::CHUNK_DONE != 0
    }
}

impl Pending {
    /// Marks a part of a read as arrived; refuses what lies outside or came before. The part counts from the
    /// request's start.
    fn claim(&mut self, offset: u64, length: u32) -> Result<Range<u64>, NbdError> {
        let asked = self.offset..self.offset + u64::from(self.length);
        let end = offset
            .checked_add(u64::from(length))
            .filter(|end| *end <= asked.end);
        let (true, Some(end)) = (length > 0 && offset >= asked.start, end) else {
            return Err(NbdError::protocol(format!(
                "a chunk of {length} bytes at {offset} outside the read"
            )));
        };
        let part = offset - asked.start..end - asked.start;
        let at = self.arrived.partition_point(|range| range.end <= part.start);
        if self.arrived.get(at).is_some_and(|range| range.start < part.end) {
            return Err(NbdError::protocol(format!("two chunks for offset {offset}")));
        }
        self.arrived.insert(at, part.clone());
        self.arrived.dedup_by(|next, range| {
            let touches = range.end == next.start;
            if touches {
                range.end = next.end;
            }
            touches
        });
        Ok(part)
    }

    fn failed(&self, error: u32, message: String) -> NbdError {
        NbdError::Request {
            action: self.command.verb(),
            offset: self.offset,
            length: u64::from(self.length),
            message,
            source: wire::error_of(error),
        }
    }
}
