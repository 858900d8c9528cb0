//! Whether pages of changed areas tell of a whole disk. Pure.

/// Disks are read and written in sectors.
const SECTOR: u64 = 512;

/// An area of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Area {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub length: u64,
}

impl Area {
    /// Where it ends: the first byte behind it. `None` where no disk reaches.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.start.checked_add(self.length)
    }
}

/// One answer: of the bytes `start` to `start + length` it tells those that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where what it tells of begins.
    pub start: u64,
    /// How far it got.
    pub length: u64,
    /// What changed.
    pub areas: Vec<Area>,
}

/// The pages do not tell of the whole disk, or of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// The disk's size is no whole number of sectors.
    #[error("a disk of {capacity} bytes is no whole number of sectors")]
    Capacity {
        /// The size.
        capacity: u64,
    },
    /// A page begins elsewhere than where the one before it ended.
    #[error("an answer begins at {found} instead of {expected}")]
    Elsewhere {
        /// Where the page before it ended.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// A page tells of nothing.
    #[error("the host gets no further than {at}")]
    NoProgress {
        /// Where.
        at: u64,
    },
    /// A page tells of more than the disk.
    #[error("an answer reaches beyond the disk's {capacity} bytes: its size has changed")]
    Beyond {
        /// The disk's size.
        capacity: u64,
    },
    /// The last page does not reach the disk's end.
    #[error("the answers end at {reached} of {capacity} bytes")]
    Short {
        /// How far they reach.
        reached: u64,
        /// The disk's size.
        capacity: u64,
    },
    /// An area reaches further than any disk.
    #[error("an area at {start} reaches further than any disk")]
    Overflow {
        /// Where it begins.
        start: u64,
    },
}

/// What changed on a disk of `capacity` bytes, by `pages` that have to tile it: each begins where the one before it
/// ended, and the last one ends with the disk. The result is sorted, without overlaps, grown to whole sectors and cut
/// at the disk's end. It never lacks a byte that an area of any page holds.
///
/// # Errors
/// A [`CoverageError`] where the pages leave a doubt.
pub fn coverage(capacity: u64, pages: impl IntoIterator<Item = Page>) -> Result<Vec<Area>, CoverageError> {
    let mut coverage = Coverage::new(capacity)?;
    for page in pages {
        coverage.add(page)?;
    }
    coverage.finish()
}

/// Pages as they come in.
#[derive(Debug)]
pub(super) struct Coverage {
    capacity: u64,
    reached: u64,
    /// Start and end of areas, as they came.
    spans: Vec<(u64, u64)>,
}

impl Coverage {
    pub(super) fn new(capacity: u64) -> Result<Self, CoverageError> {
        if !capacity.is_multiple_of(SECTOR) {
            return Err(CoverageError::Capacity { capacity });
        }
        Ok(Self {
            capacity,
            reached: 0,
            spans: Vec::new(),
        })
    }

    /// Where the next page has to begin; `None` when the whole disk was told of. A host must not be asked there.
    pub(super) fn next(&self) -> Option<u64> {
        (self.reached < self.capacity).then_some(self.reached)
    }

    pub(super) fn add(&mut self, page: Page) -> Result<(), CoverageError> {
        if page.start != self.reached {
            return Err(CoverageError::Elsewhere {
                expected: self.reached,
                found: page.start,
            });
        }
        if page.length == 0 {
            return Err(CoverageError::NoProgress { at: page.start });
        }
        let end = page.start.checked_add(page.length);
        self.reached = end
            .filter(|end| *end <= self.capacity)
            .ok_or(CoverageError::Beyond {
                capacity: self.capacity,
            })?;
        for area in page.areas {
            self.take(area)?;
        }
        Ok(())
    }

    fn take(&mut self, area: Area) -> Result<(), CoverageError> {
        let overflow = CoverageError::Overflow { start: area.start };
        let start = area.start - area.start % SECTOR;
        let end = area
            .end()
            .and_then(|end| end.checked_next_multiple_of(SECTOR))
            .ok_or(overflow)?
            .min(self.capacity);
        if area.length > 0 && start < end {
            self.spans.push((start, end));
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Area>, CoverageError> {
        if self.reached < self.capacity {
            return Err(CoverageError::Short {
                reached: self.reached,
                capacity: self.capacity,
            });
        }
        self.spans.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in self.spans {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        let area = |(start, end)| Area {
            start,
            length: end - start,
        };
        Ok(merged.into_iter().map(area).collect())
    }
}
