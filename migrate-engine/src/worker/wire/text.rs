//! From what is meant to what is written, and back. What comes back is checked before it is believed.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{
    ChangesText, DigestText, Failure, Moved, Octets, PhaseWord, Ranges, ScopeText, SenseError, TotalsText,
};
use crate::model::chain;
use crate::source::{Changes, SourceFailure, What};
use crate::transfer::{CopyTotals, DiskDigest, Phase, Snapshot};

fn nonsense(what: &'static str) -> SenseError {
    SenseError { what }
}

impl From<&[Range<u64>]> for Ranges {
    fn from(ranges: &[Range<u64>]) -> Self {
        Self(ranges.iter().map(|range| (range.start, range.end)).collect())
    }
}

impl Ranges {
    /// The ranges, where they are in order, disjoint, and within a disk of `capacity` bytes.
    ///
    /// # Errors
    /// Where they are not.
    pub fn within(self, capacity: u64) -> Result<Arc<[Range<u64>]>, SenseError> {
        let mut at = 0;
        for (start, end) in &self.0 {
            if *start < at || end < start || *end > capacity {
                return Err(nonsense("ranges of a disk"));
            }
            at = *end;
        }
        Ok(self.0.into_iter().map(|(start, end)| start..end).collect())
    }
}

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Self {
        Self(BASE64_STANDARD.encode(bytes))
    }
}

impl Octets {
    /// The bytes.
    ///
    /// # Errors
    /// Where it is no base64.
    pub fn bytes(&self) -> Result<Vec<u8>, SenseError> {
        BASE64_STANDARD
            .decode(&self.0)
            .map_err(|_| nonsense("bytes in base64"))
    }
}

impl From<&DiskDigest> for DigestText {
    fn from(digest: &DiskDigest) -> Self {
        Self {
            root: digest.root().to_string(),
            blocks: Octets::from(&*digest.to_bytes()),
        }
    }
}

impl DigestText {
    /// The digest, where its root is that of its blocks.
    ///
    /// # Errors
    /// Where it is not.
    pub fn digest(&self) -> Result<DiskDigest, SenseError> {
        let root = self.root.parse().map_err(|_| nonsense("the digest of a disk"))?;
        DiskDigest::restore(&root, &self.blocks.bytes()?).ok_or(nonsense("the digest of a disk"))
    }
}

impl From<&What> for ScopeText {
    fn from(what: &What) -> Self {
        match what {
            What::Everything => Self::Everything,
            What::Changed(base, ranges) => Self::Changed {
                base: base.into(),
                ranges: (&**ranges).into(),
            },
            What::Differing(base) => Self::Differing { base: base.into() },
        }
    }
}

impl ScopeText {
    /// What is meant, of a disk of `capacity` bytes.
    ///
    /// # Errors
    /// Where nothing can be.
    pub fn what(self, capacity: u64) -> Result<What, SenseError> {
        Ok(match self {
            Self::Everything => What::Everything,
            Self::Changed { base, ranges } => What::Changed(base.digest()?, ranges.within(capacity)?),
            Self::Differing { base } => What::Differing(base.digest()?),
        })
    }
}

impl From<&Changes> for ChangesText {
    fn from(changes: &Changes) -> Self {
        match changes {
            Changes::Since(ranges) => Self::Since((&**ranges).into()),
            Changes::All { reason, allocated } => Self::All {
                reason: reason.clone(),
                allocated: allocated.as_deref().map(Ranges::from),
            },
        }
    }
}

impl ChangesText {
    /// What is meant, of a disk of `capacity` bytes.
    ///
    /// # Errors
    /// Where nothing can be.
    pub fn changes(self, capacity: u64) -> Result<Changes, SenseError> {
        Ok(match self {
            Self::Since(ranges) => Changes::Since(ranges.within(capacity)?),
            Self::All { reason, allocated } => Changes::All {
                reason,
                allocated: allocated.map(|ranges| ranges.within(capacity)).transpose()?,
            },
        })
    }
}

impl From<&SourceFailure> for Failure {
    fn from(failure: &SourceFailure) -> Self {
        Self {
            category: failure.category,
            is_unknown: failure.is_unknown,
            why: chain(failure),
        }
    }
}

impl From<Failure> for SourceFailure {
    fn from(failure: Failure) -> Self {
        Self::new(failure.category, failure.why).unknown_if(failure.is_unknown)
    }
}

impl From<&Snapshot> for Moved {
    fn from(seen: &Snapshot) -> Self {
        Self {
            phase: match seen.phase {
                Phase::Waiting => PhaseWord::Waiting,
                Phase::Mapping => PhaseWord::Mapping,
                Phase::Copying => PhaseWord::Copying,
                Phase::Flushing => PhaseWord::Flushing,
                Phase::Verifying => PhaseWord::Verifying,
                Phase::Finished => PhaseWord::Finished,
            },
            total_bytes: seen.total_bytes,
            data_bytes: seen.data_bytes,
            data_done: seen.data_done,
            bytes_written: seen.bytes_written,
            zero_skipped: seen.zero_skipped,
            data_resumed: seen.data_resumed,
            zero_found: seen.zero_found,
            bytes_zeroed: seen.bytes_zeroed,
        }
    }
}

impl From<Moved> for Snapshot {
    fn from(moved: Moved) -> Self {
        Self {
            phase: match moved.phase {
                PhaseWord::Waiting => Phase::Waiting,
                PhaseWord::Mapping => Phase::Mapping,
                PhaseWord::Copying => Phase::Copying,
                PhaseWord::Flushing => Phase::Flushing,
                PhaseWord::Verifying => Phase::Verifying,
                PhaseWord::Finished => Phase::Finished,
            },
            total_bytes: moved.total_bytes,
            data_bytes: moved.data_bytes.max(moved.data_done),
            data_done: moved.data_done,
            bytes_written: moved.bytes_written,
            zero_skipped: moved.zero_skipped,
            data_resumed: moved.data_resumed,
            zero_found: moved.zero_found,
            bytes_zeroed: moved.bytes_zeroed,
            rate: None,
            eta: None,
        }
    }
}

impl From<CopyTotals> for TotalsText {
    fn from(totals: CopyTotals) -> Self {
        Self {
            bytes_read: totals.bytes_read,
            bytes_written: totals.bytes_written,
            bytes_skipped: totals.bytes_skipped,
            bytes_found_zero: totals.bytes_found_zero,
            bytes_zeroed: totals.bytes_zeroed,
            bytes_resumed: totals.bytes_resumed,
        }
    }
}

impl From<TotalsText> for CopyTotals {
    fn from(totals: TotalsText) -> Self {
        Self {
            bytes_read: totals.bytes_read,
            bytes_written: totals.bytes_written,
            bytes_skipped: totals.bytes_skipped,
            bytes_found_zero: totals.bytes_found_zero,
            bytes_zeroed: totals.bytes_zeroed,
            bytes_resumed: totals.bytes_resumed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Category;

    fn digest() -> DiskDigest {
        super::super::testing::digest(2 << 20)
    }

    fn through<T: serde::Serialize + serde::de::DeserializeOwned>(what: &T) -> T {
        serde_json::from_str(&serde_json::to_string(what).unwrap()).unwrap()
    }

    fn ranges(pairs: &[(u64, u64)]) -> Arc<[Range<u64>]> {
        pairs.iter().map(|(start, end)| *start..*end).collect()
    }

    #[test]
    fn what_is_meant_comes_back() {
        let few = ranges(&[(0, 512), (512, 1024), (4096, 8192)]);
        for what in [
            What::Everything,
            What::Changed(digest(), Arc::clone(&few)),
            What::Differing(digest()),
        ] {
            let text = through(&ScopeText::from(&what));
            assert_eq!(text.what(8192).unwrap(), what);
        }
        for changes in [
            Changes::Since(Arc::clone(&few)),
            Changes::All {
                reason: Some("because".to_owned()),
                allocated: Some(few),
            },
        ] {
            assert_eq!(
                through(&ChangesText::from(&changes)).changes(8192).unwrap(),
                changes
            );
        }
    }

    #[test]
    fn ranges_out_of_order_or_beyond_the_disk_are_not_believed() {
        for pairs in [&[(0, 9000)][..], &[(512, 0)], &[(0, 1024), (512, 2048)]] {
            let text = Ranges::from(&*ranges(pairs));
            assert!(text.within(8192).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_digest_whose_root_is_not_that_of_its_blocks_is_not_believed() {
        let mut text = DigestText::from(&digest());
        assert_eq!(text.digest().unwrap(), digest());
        text.blocks = Octets::from(&[8; 32][..]);
        assert!(text.digest().is_err());
        text.blocks = Octets("%".to_owned());
        assert!(text.digest().is_err());
    }

    #[test]
    fn a_failure_keeps_its_causes_and_what_can_be_done() {
        let cause = std::io::Error::other("the cause");
        let failure = SourceFailure::new(Category::Trust, cause).unknown_if(true);
        let back = SourceFailure::from(through(&Failure::from(&failure)));
        assert_eq!(
            (back.category, back.is_unknown, back.to_string()),
            (Category::Trust, true, "the cause".to_owned())
        );
    }
}
