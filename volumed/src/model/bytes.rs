//! A size in bytes, with the arithmetic that volumes need and no silent wrap.

use std::fmt;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// One mebibyte.
    pub const MIB: Bytes = Bytes(1 << 20);
    /// One gibibyte.
    pub const GIB: Bytes = Bytes(1 << 30);

    /// This size rounded up to a multiple of `unit`, or `None` where that does not fit 64 bits.
    #[must_use]
    pub fn round_up_to(self, unit: Bytes) -> Option<Bytes> {
        self.0.checked_next_multiple_of(unit.0).map(Bytes)
    }

    /// Whether this size is a whole number of `unit`s.
    #[must_use]
    pub fn is_multiple_of(self, unit: Bytes) -> bool {
        self.0.is_multiple_of(unit.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_up_and_refuses_to_wrap() {
        assert_eq!(Bytes(1).round_up_to(Bytes::MIB), Some(Bytes::MIB));
        assert_eq!(Bytes::MIB.round_up_to(Bytes::MIB), Some(Bytes::MIB));
        assert_eq!(Bytes(u64::MAX).round_up_to(Bytes::MIB), None);
    }
}
