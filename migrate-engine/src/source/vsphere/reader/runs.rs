//! Which ranges of the file are asked for to get the wanted parts of a buffer. Pure.

use std::ops::Range;

/// Bytes between two parts that are read along, and dropped. At the tens of MB/s that a host gives they take some
/// milliseconds; another request takes a way there and back, and the host looks the file up and opens it anew.
pub(super) const READ_ALONG: usize = 128 << 10;

/// One range to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) range: Range<usize>,
    /// What of it is not wanted.
    pub(super) gaps: Vec<Range<usize>>,
}

/// The bytes that a run must not change.
pub(super) struct Spared<'a> {
    run: &'a Run,
    bytes: Vec<u8>,
}

/// Joins parts (ascending, disjoint) that are near each other.
pub(super) fn runs(wanted: &[Range<usize>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for part in wanted {
        match runs.last_mut() {
            Some(run) if part.start - run.range.end <= READ_ALONG => run.join(part),
            _ => runs.push(Run {
                range: part.clone(),
                gaps: Vec::new(),
            }),
        }
    }
    runs
}

impl Run {
    fn join(&mut self, part: &Range<usize>) {
        if self.range.end < part.start {
            self.gaps.push(self.range.end..part.start);
        }
        self.range.end = part.end;
    }

    /// Remembers what is in the gaps: readers leave what is not wanted as it is.
    pub(super) fn spare(&self, buffer: &[u8]) -> Spared<'_> {
        let pieces: Vec<&[u8]> = self.gaps.iter().map(|gap| &buffer[gap.clone()]).collect();
        Spared {
            run: self,
            bytes: pieces.concat(),
        }
    }
}

impl Spared<'_> {
    pub(super) fn put_back(self, buffer: &mut [u8]) {
        let mut rest = &self.bytes[..];
        for gap in &self.run.gaps {
            let (piece, others) = rest.split_at(gap.len());
            buffer[gap.clone()].copy_from_slice(piece);
            rest = others;
        }
    }
}
