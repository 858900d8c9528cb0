//! Aligned buffers from a fixed pool: the memory bound of a transfer.

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::memory::{self, Piece};

/// A fixed number of equal, aligned buffers; a dropped buffer returns by itself.
///
/// A buffer has its memory from the first byte on that is put into it: one that waits for an answer has none yet. So few of the pieces
/// are in turn, those used last, which the processor's cache still has.
#[derive(Debug, Clone)]
pub struct BufferPool {
    home: Arc<Home>,
}

/// One buffer, exclusively held. Its content is whatever the last user left.
#[derive(Debug)]
pub struct Buffer {
    memory: OnceLock<Piece>,
    home: Arc<Home>,
}

#[derive(Debug)]
struct Home {
    length: usize,
    stock: Mutex<Stock>,
}

#[derive(Debug)]
struct Stock {
    /// The last one that came back is the first to go out.
    free: Vec<Piece>,
    /// How many of them belong to buffers that were not touched yet.
    promised: usize,
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
        let stock = Stock {
            free: memory::pieces(count, length, alignment),
            promised: 0,
        };
        let home = Home {
            length,
            stock: Mutex::new(stock),
        };
        Self { home: Arc::new(home) }
    }

    /// A free buffer, or nothing where all are in use.
    pub fn take(&self) -> Option<Buffer> {
        let mut stock = self.home.stock.lock();
        (stock.promised < stock.free.len()).then(|| {
            stock.promised += 1;
            Buffer {
                memory: OnceLock::new(),
                home: Arc::clone(&self.home),
            }
        })
    }
}

impl Home {
    /// Keeps a promise.
    fn hand_out(&self) -> Piece {
        let mut stock = self.stock.lock();
        stock.promised -= 1;
        stock.free.pop().expect("no more is promised than there is")
    }
}

impl Buffer {
    /// Its length; asking for it alone takes no memory.
    pub fn capacity(&self) -> usize {
        self.home.length
    }

    /// Shares a part of the buffer for writing it out.
    pub fn share(self, range: Range<usize>) -> BufferSlice {
        assert!(
            range.start <= range.end && range.end <= self.capacity(),
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
        self.memory.get_or_init(|| self.home.hand_out()).bytes()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_or_init(|| self.home.hand_out());
        let memory = self.memory.get_mut();
        memory.expect("it was just handed out").bytes_mut()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut stock = self.home.stock.lock();
        match self.memory.take() {
            Some(memory) => stock.free.push(memory),
            None => stock.promised -= 1,
        }
    }
}

impl BufferSlice {
    /// A part of this part; `range` counts from the start of the whole buffer.
    pub fn with_range(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.buffer.capacity(),
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
    #[test]
    fn memory_is_handed_out_with_the_first_touch_and_the_last_used_first() {
        let pool = BufferPool::new(3, 8192, 4096);
        let waiting = [(), ()].map(|()| pool.take().unwrap());
        let mut third = pool.take().unwrap();
        assert!(pool.take().is_none(), "what is promised is nobody else's");
        third[0] = 1;
        let place = third.as_ptr();
        drop(third);
        let [first, second] = waiting;
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert_eq!(first.as_ptr(), place, "the one that came back last");
        drop((first, second));
        assert!([(); 3].map(|()| pool.take()).iter().all(Option::is_some));
    }

    #[test]
    fn a_buffer_that_was_never_touched_returns_as_well() {
        let pool = BufferPool::new(1, 8192, 4096);
        for _ in 0..3 {
            drop(pool.take().unwrap());
        }
        let slice = pool.take().unwrap().share(0..100);
        assert!(pool.take().is_none());
        drop(slice);
        assert!(pool.take().is_some());
    }
}
