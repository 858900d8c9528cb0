//! Aligned buffers from a fixed pool: the memory bound of a transfer.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory::{self, Piece};

type FreeList = Arc<Mutex<Vec<Piece>>>;

/// A fixed number of equal, aligned buffers; a dropped buffer returns by itself.
#[derive(Debug, Clone)]
pub struct BufferPool {
    free: FreeList,
}

/// One buffer, exclusively held. Its content is whatever the last user left.
#[derive(Debug)]
pub struct Buffer {
    memory: Option<Piece>,
    home: FreeList,
}

/// A shared, read-only part of a buffer; the buffer returns to its pool with the last slice.
#[derive(Debug, Clone)]
pub struct BufferSlice {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

impl BufferPool {
    /// `count` buffers of `length` bytes whose addresses are multiples of `alignment` (a power of two, at most 2 MiB).
    /// The kernel gives the memory as it is touched.
    pub fn new(count: usize, length: usize, alignment: usize) -> Self {
        Self {
            free: Arc::new(Mutex::new(memory::pieces(count, length, alignment))),
        }
    }

    /// A free buffer, or nothing where all are in use.
    pub fn take(&self) -> Option<Buffer> {
        let memory = self.free.lock().pop()?;
        Some(Buffer {
            memory: Some(memory),
            home: Arc::clone(&self.free),
        })
    }
}

impl Buffer {
    /// Shares a part of the buffer for writing it out.
    pub fn share(self, range: Range<usize>) -> BufferSlice {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "a slice lies inside its buffer"
        );
        BufferSlice {
            buffer: Arc::new(self),
            range,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = self.memory.as_ref();
        memory.expect("memory leaves a buffer only on drop").bytes()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let memory = self.memory.as_mut();
        memory.expect("memory leaves a buffer only on drop").bytes_mut()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.home.lock().push(memory);
        }
    }
}

impl BufferSlice {
    /// A part of this part; `range` counts from the start of the whole buffer.
    pub fn with_range(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.buffer.len(),
            "a slice lies inside its buffer"
        );
        Self {
            buffer: Arc::clone(&self.buffer),
            range,
        }
    }
}

impl BufferSlice {
    /// Cuts it in two; `at` counts from the start of this part.
    pub fn split(self, at: usize) -> (Self, Self) {
        let at = self.range.start + at;
        let (first, second) = (self.range.start..at, at..self.range.end);
        (self.with_range(first), self.with_range(second))
    }
}

impl Deref for BufferSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::BufferPool;

    #[test]
    fn buffers_are_aligned_bounded_and_return() {
        let pool = BufferPool::new(2, 8192, 4096);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert_eq!(first.as_ptr() as usize % 4096, 0);
        assert_eq!(first.len(), 8192);
        assert!(pool.take().is_none());
        drop(second);
        let slice = first.share(0..100);
        let other = slice.with_range(100..200);
        drop(slice);
        let again = pool.take().unwrap();
        assert!(pool.take().is_none(), "a slice keeps its buffer");
        drop(other);
        assert!(pool.take().is_some());
        drop(again);
    }
}
