//! Sizes as people write them, and how large a volume for a disk is made.

use std::fmt;
use std::str::FromStr;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size (write a number of bytes, or a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB)")]
pub struct SizeParseError(String);

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = SizeParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || SizeParseError(text.chars().take(64).collect());
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim_start().to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        number.checked_mul(*factor).map(Size).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    #[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let large = [
            ("TiB", 1_u64 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ];
        match large.iter().find(|(_, unit)| self.0 >= *unit) {
            Some((name, unit)) if self.0.is_multiple_of(*unit) => write!(f, "{} {name}", self.0 / unit),
            Some((name, unit)) => write!(f, "{:.1} {name}", self.0 as f64 / *unit as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// How large the volume for a disk of `capacity` bytes is made: capacity plus buffer, rounded up to a whole MiB. `None`
/// where that does not fit.
#[must_use]
pub fn volume_size(capacity: u64, buffer: Size) -> Option<Size> {
    capacity
        .checked_add(buffer.0)?
        .checked_next_multiple_of(1 << 20)
        .map(Size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("64MiB", 64 << 20),
            ("1 TiB", 1 << 40),
            ("0", 0),
            ("12b", 12),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "GB",
            "-1",
            "1.5GiB",
            "5 XB",
            "99999999999999999999",
            "18446744073709551615KiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_volume_is_never_smaller_than_its_disk_and_buffer() {
        assert_eq!(volume_size(1, Size(0)), Some(Size(1 << 20)));
        // 37.5 GiB stays 37.5 GiB: a peer rounds it down to 37.
        assert_eq!(
            volume_size(75 << 29, Size(5_000_000_000)).map(|s| s.0 >= (75 << 29) + 5_000_000_000),
            Some(true)
        );
        assert_eq!(volume_size(u64::MAX, Size(1)), None);
    }
}
