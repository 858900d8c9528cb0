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

    /// This size for people: rounded down to a tenth of the largest binary unit that fits.
    #[must_use]
    pub fn rounded(self) -> String {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let power = (self.0.max(1).ilog2() / 10) as usize;
        let Some(unit) = power.checked_sub(1).and_then(|unit| UNITS.get(unit)) else {
            return self.to_string();
        };
        let tenths = (u128::from(self.0) * 10) >> (10 * power);
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
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

    #[test]
    fn people_read_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Bytes(bytes).rounded(), text);
        }
    }
}
