//! The memory of buffers: anonymous pages, huge ones where the kernel has them.
//!
//! With small pages a buffer of 1 MiB is 256 places for the device. That is more than a request of many devices holds, and a write that the kernel
//! has to cut it does not take at once from io_uring: it gives it to a thread of its own.
#![allow(unsafe_code)] // mmap(2) and slices into it; each use states why it is sound.

use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// A huge page of every machine that we run on.
const HUGE: usize = 2 << 20;

/// A part of a mapping that is its holder's alone.
#[derive(Debug)]
pub(super) struct Piece {
    start: NonNull<u8>,
    length: usize,
    /// Keeps the mapping.
    _of: Arc<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is memory and no more; it belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: nothing is read or written through a shared `Mapping`.
unsafe impl Sync for Mapping {}
// SAFETY: a piece is the only way to its bytes, as a `Box<[u8]>` is.
unsafe impl Send for Piece {}
// SAFETY: through a shared piece its bytes can only be read.
unsafe impl Sync for Piece {}

/// `count` pieces of `length` bytes, zeroes, at multiples of `alignment` (a power of two, at most 2 MiB). The kernel gives the
/// memory as it is touched.
///
/// # Panics
/// Where the kernel has no room in the address space.
pub(super) fn pieces(count: usize, length: usize, alignment: usize) -> Vec<Piece> {
    assert!(
        alignment.is_power_of_two() && alignment <= HUGE,
        "alignment {alignment}"
    );
    let stride = length.next_multiple_of(alignment);
    let wanted = stride.saturating_mul(count).max(1);
    let is_huge = wanted >= HUGE;
    // Whole huge pages from the first on, wherever the mapping begins.
    let (wanted, grain) = match is_huge {
        true => (wanted.next_multiple_of(HUGE), HUGE),
        false => (wanted, alignment),
    };
    let mapping = Arc::new(Mapping::of(wanted + grain));
    let skipped = mapping.start.as_ptr().align_offset(grain);
    assert!(skipped <= grain, "a mapping of bytes can be aligned");
    // SAFETY: `skipped` is at most `grain`, and the mapping has `grain` bytes more than `wanted`.
    let first = unsafe { mapping.start.add(skipped) };
    if is_huge {
        // SAFETY: the advised range lies inside of the mapping; the advice changes no content.
        let advised = unsafe { madvise(first.as_ptr().cast(), wanted, Advice::LinuxHugepage) };
        if let Err(error) = advised {
            tracing::debug!(%error, "no huge pages for buffers");
        }
    }
    let piece = |n: usize| Piece {
        // SAFETY: `n` is below `count`, and `count` times `stride` is at most `wanted`.
        start: unsafe { first.add(n * stride) },
        length,
        _of: Arc::clone(&mapping),
    };
    (0..count).map(piece).collect()
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped for as long as `_of` lives, initialised by the kernel, and no other piece's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; a piece cannot be cloned, and this borrows it alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Mapping {
    fn of(length: usize) -> Self {
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches nobody's memory.
        let mapped = unsafe {
            mmap_anonymous(
                null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let start = mapped.ok().and_then(|start| NonNull::new(start.cast()));
        Self {
            start: start.unwrap_or_else(|| panic!("the kernel has no {length} bytes for buffers")),
            length,
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, made by `of`; the last piece, and with it the last reference into it, is gone.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_zero_and_do_not_touch_each_other() {
        for (count, length, alignment) in [
            (0, 4096, 4096),
            (1, 1, 1),
            (3, 1000, 512),
            (5, 1 << 20, 4096),
            (2, 3 << 20, 65_536),
        ] {
            let mut all = pieces(count, length, alignment);
            assert_eq!(all.len(), count);
            for (n, piece) in (1..).zip(&mut all) {
                assert!(piece.bytes().iter().all(|byte| *byte == 0));
                assert!(piece.bytes().as_ptr().addr().is_multiple_of(alignment));
                piece.bytes_mut().fill(n);
            }
            for (n, piece) in (1..).zip(&all) {
                assert_eq!(piece.bytes().len(), length);
                assert!(piece.bytes().iter().all(|byte| *byte == n));
            }
        }
    }

    #[test]
    fn a_piece_outlives_its_pool() {
        let mut all = pieces(2, 8192, 4096);
        let mut last = all.pop().unwrap();
        drop(all);
        last.bytes_mut().fill(7);
        let last = std::thread::spawn(move || last.bytes().to_vec()).join().unwrap();
        assert!(last.iter().all(|byte| *byte == 7));
    }
}
