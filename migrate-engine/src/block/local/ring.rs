//! Writes that the kernel works on while we go on: io_uring, a few at a time.
#![allow(unsafe_code)] // io_uring's submission queue; the one use states why it is sound.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

use super::super::BufferSlice;

/// A write that the kernel may be at work on.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) offset: u64,
    pub(super) data: BufferSlice,
}

/// A queue of writes. What was given to it is waited for, at the latest when it is dropped.
pub(super) struct Ring {
    uring: IoUring,
    /// By the number that the kernel gives back; the memory stays where it is until then.
    slots: Vec<Option<Queued>>,
    in_flight: usize,
}

impl Ring {
    /// A queue of so many writes at a time; an error where the kernel has none, or does not let us.
    pub(super) fn new(depth: usize) -> io::Result<Self> {
        let entries = u32::try_from(depth).map_err(io::Error::other)?;
        Ok(Self {
            uring: IoUring::new(entries)?,
            slots: (0..depth).map(|_| None).collect(),
            in_flight: 0,
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight == self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0
    }

    /// Gives the kernel a write. The queue must not be full.
    pub(super) fn push(&mut self, file: BorrowedFd<'_>, write: Queued) -> io::Result<()> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| io::Error::other("the queue of writes is full"))?;
        let length = u32::try_from(write.data.len()).map_err(io::Error::other)?;
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), write.data.as_ptr(), length)
            .offset(write.offset)
            .build()
            .user_data(slot as u64);
        self.slots[slot] = Some(write);
        // SAFETY: the pointer is to a buffer that `slots` keeps alive and unchanged (a slice is read-only, and shared
        // memory of a pool does not move) until the kernel has given the entry back: `reap` and `drop` alone empty a
        // slot, after that. The descriptor belongs to the disk, which outlives its workers' calls.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            self.slots[slot] = None;
            return Err(io::Error::other("the kernel's queue of writes is full"));
        }
        self.in_flight += 1;
        // An interruption has submitted it, or leaves it for the next call.
        match self.uring.submit() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// A write that has ended, if one has: how many bytes were written, or why none.
    pub(super) fn ended(&mut self) -> io::Result<Option<(Queued, io::Result<usize>)>> {
        let Some(ended) = self.uring.completion().next() else {
            return Ok(None);
        };
        let slot = usize::try_from(ended.user_data()).map_err(io::Error::other)?;
        let write = self.slots.get_mut(slot).and_then(Option::take);
        let write = write.ok_or_else(|| io::Error::other("the kernel ended a write that was not begun"))?;
        self.in_flight -= 1;
        let result = usize::try_from(ended.result());
        let result = result.map_err(|_| io::Error::from_raw_os_error(-ended.result()));
        Ok(Some((write, result)))
    }

    /// Waits for the end of one write. The queue must not be empty.
    pub(super) fn reap(&mut self) -> io::Result<(Queued, io::Result<usize>)> {
        loop {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            match self.uring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

impl Drop for Ring {
    /// The kernel reads the memory of what it still works on.
    fn drop(&mut self) {
        while !self.is_empty() {
            if let Err(error) = self.reap() {
                // Memory that the kernel may still read must not be given to anybody else.
                tracing::error!(%error, "writes cannot be waited for; their memory is kept");
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::block::BufferPool;

    fn queued(offset: u64, fill: u8, pool: &BufferPool) -> Queued {
        let mut buffer = pool.take().unwrap();
        buffer.fill(fill);
        let data = buffer.share(0..8192);
        Queued { offset, data }
    }

    #[test]
    fn writes_are_done_when_they_come_back_and_buffers_return() {
        let file = tempfile::tempfile().unwrap();
        let pool = BufferPool::new(3, 8192, 4096);
        let mut ring = Ring::new(3).unwrap();
        for round in 0..20_u8 {
            for n in 0..3 {
                ring.push(file.as_fd(), queued(u64::from(n) * 8192, round + n, &pool))
                    .unwrap();
            }
            assert!(ring.is_full() && pool.take().is_none());
            while !ring.is_empty() {
                assert_eq!(ring.reap().unwrap().1.unwrap(), 8192);
            }
            let mut found = vec![0; 3 * 8192];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(
                found
                    .chunks(8192)
                    .zip(round..)
                    .all(|(chunk, fill)| chunk.iter().all(|byte| *byte == fill))
            );
        }
    }

    #[test]
    fn what_is_in_flight_at_the_end_is_waited_for() {
        let file = tempfile::tempfile().unwrap();
        let pool = BufferPool::new(2, 8192, 4096);
        let mut ring = Ring::new(2).unwrap();
        ring.push(file.as_fd(), queued(0, 7, &pool)).unwrap();
        drop(ring);
        assert!(pool.take().is_some() && pool.take().is_some());
        let mut found = vec![0; 8192];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_failure_is_told_with_its_write() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let pool = BufferPool::new(1, 8192, 4096);
        let mut ring = Ring::new(1).unwrap();
        ring.push(file.as_fd(), queued(5, 7, &pool)).unwrap();
        let (write, result) = ring.reap().unwrap();
        assert_eq!(
            (write.offset, result.unwrap_err().raw_os_error()),
            (5, Some(libc::EBADF))
        );
    }
}
