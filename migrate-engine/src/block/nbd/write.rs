//! Writing an export: pipelined writes and zeroes, edges by read-modify-write, flush or forced unit access.

use std::ops::Range;
use std::sync::Arc;

use super::super::error::check_range;
use super::super::{BlockError, BufferPool, BufferSlice, ReadRequest, WriteWorker};
use super::Shared;
use super::connection::{Connection, Pending};
use super::error::NbdError;
use super::wire::{self, Command};

/// The largest range zeroed by one request: a server that has to write them answers in time.
const ZERO_PIECE: u64 = 128 << 20;
/// Payload of a written zero, where the server has no command for it.
static ZEROES: [u8; 256 << 10] = [0; 256 << 10];

pub(super) struct NbdWriter {
    shared: Arc<Shared>,
    /// Present until the drop.
    connection: Option<Connection>,
}

impl NbdWriter {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            shared,
            connection: Some(connection),
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("the connection leaves only on drop")
    }

    /// Without a flush command, every write has to be durable by itself.
    fn flags(&self) -> u16 {
        let abilities = self.shared.terms.abilities;
        let forced = abilities.forced_unit_access() && !abilities.flush();
        if forced { wire::COMMAND_FLAG_FUA } else { 0 }
    }

    /// Cuts a range into an unaligned head, whole blocks, and an unaligned tail (the end of the export is aligned).
    fn aligned(&self, range: &Range<u64>) -> [Range<u64>; 3] {
        let mask = u64::from(self.shared.terms.minimum_block) - 1;
        let first = (range.start.saturating_add(mask) & !mask).min(range.end);
        let last = if range.end == self.shared.terms.size {
            range.end
        } else {
            range.end & !mask
        }
        .max(first);
        [range.start..first, first..last, last..range.end]
    }

    fn write_blocks(&mut self, mut offset: u64, bytes: &[u8]) -> Result<(), NbdError> {
        let flags = self.flags();
        for piece in bytes.chunks(self.shared.terms.largest_payload as usize) {
            let length = u32::try_from(piece.len()).expect("a piece is no larger than a payload");
            self.connection()
                .start(Pending::new(Command::Write, offset, length), flags, piece)?;
            offset += u64::from(length);
        }
        Ok(())
    }

    fn zero_blocks(&mut self, range: Range<u64>) -> Result<(), NbdError> {
        let has_command = self.shared.terms.abilities.write_zeroes();
        let piece = if has_command {
            ZERO_PIECE
        } else {
            ZEROES.len() as u64
        };
        let flags = self.flags();
        let mut at = range.start;
        while at < range.end {
            let count = piece.min(range.end - at);
            let length = u32::try_from(count).expect("a piece of zeroes is below 4 GiB");
            if has_command {
                self.connection()
                    .start(Pending::new(Command::WriteZeroes, at, length), flags, &[])?;
            } else {
                self.write_blocks(at, &ZEROES[..length as usize])?;
            }
            at += count;
        }
        Ok(())
    }

    /// Writes less than a block: reads the block, changes it, writes it back.
    fn write_edge(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let block = u64::from(self.shared.terms.minimum_block);
        let start = offset - offset % block;
        let length =
            usize::try_from(block.min(self.shared.terms.size - start)).expect("a block is at most 64 KiB");
        let pool = BufferPool::new(1, length, 1);
        let buffer = pool.take().expect("a new pool of one has one buffer");
        let connection = self.connection();
        connection.settle()?;
        connection.start_read(ReadRequest {
            offset: start,
            buffer,
            wanted: std::iter::once(0..length).collect(),
        })?;
        connection.settle()?;
        let mut read = connection
            .completed
            .pop_front()
            .ok_or(BlockError::NothingInFlight)?;
        let at = usize::try_from(offset - start).expect("an edge lies inside its block");
        read.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        self.write_blocks(start, &read.buffer)?;
        Ok(self.connection().settle()?)
    }
}

impl WriteWorker for NbdWriter {
    fn write(&mut self, offset: u64, data: BufferSlice) -> Result<(), BlockError> {
        let length = data.len() as u64;
        check_range("write", offset, length, self.shared.terms.size)?;
        let [head, blocks, tail] = self.aligned(&(offset..offset + length));
        let part = |range: &Range<u64>| {
            let index = |value: u64| usize::try_from(value - offset).expect("a part lies inside its slice");
            index(range.start)..index(range.end)
        };
        for edge in [&head, &tail] {
            if !edge.is_empty() {
                self.write_edge(edge.start, &data[part(edge)])?;
            }
        }
        Ok(self.write_blocks(blocks.start, &data[part(&blocks)])?)
    }

    fn write_zeroes(&mut self, range: Range<u64>) -> Result<(), BlockError> {
        let length = range.end.saturating_sub(range.start);
        check_range("zero", range.start, length, self.shared.terms.size)?;
        let [head, blocks, tail] = self.aligned(&range);
        for edge in [head, tail] {
            if !edge.is_empty() {
                let length = usize::try_from(edge.end - edge.start).expect("an edge is below 64 KiB");
                self.write_edge(edge.start, &ZEROES[..length])?;
            }
        }
        Ok(self.zero_blocks(blocks)?)
    }

    fn drain(&mut self) -> Result<(), BlockError> {
        Ok(self.connection().settle()?)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.drain()?;
        if !self.shared.terms.abilities.flush() {
            return Ok(());
        }
        let (slow, usual) = (
            self.shared.options.flush_timeout,
            self.shared.options.silence_timeout,
        );
        let connection = self.connection();
        connection.set_patience(slow);
        connection.start(Pending::new(Command::Flush, 0, 0), 0, &[])?;
        connection.settle()?;
        connection.set_patience(usual);
        Ok(())
    }
}

impl Drop for NbdWriter {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.give_back(connection);
        }
    }
}
