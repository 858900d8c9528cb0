//! The SHA-256 fingerprint of a certificate.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

const LENGTH: usize = 32;

/// The SHA-256 of a certificate, as browsers and hosts show it: `AB:CD:…`, with or without colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; LENGTH]);

/// The text is no SHA-256 fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no SHA-256 fingerprint of a certificate: it needs 64 hexadecimal digits (SHA-1 has 40 and is not enough)"
)]
pub struct FingerprintParseError {
    /// What was given.
    pub text: String,
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| !matches!(c, ':' | ' ' | '-'))
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()?;
        if digits.len() != 2 * LENGTH {
            return None;
        }
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(pair[0] * 16 + pair[1]).ok()?;
        }
        Some(Self(bytes))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.trim()).ok_or_else(|| FingerprintParseError {
            text: text.chars().take(120).flat_map(char::escape_debug).collect(),
        })
    }
}

/// Writes `AB:CD:…`, as certificates' digests are written.
///
/// # Errors
/// Those of what is written to.
pub fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        write!(f, "{colon}{byte:02X}")?;
    }
    Ok(())
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_shown() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let shown = fingerprint.to_string();
        assert_eq!(shown.parse(), Ok(fingerprint));
        assert_eq!(shown.to_lowercase().replace(':', "").parse(), Ok(fingerprint));
    }

    #[test]
    fn sha1_and_other_texts_are_refused() {
        let sha1 = "AA:".repeat(19) + "AA";
        for text in ["", "xyz", &sha1, &"ab".repeat(33), &"é".repeat(64)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
