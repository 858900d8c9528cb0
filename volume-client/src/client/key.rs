//! Idempotency keys: the name of one change, under which it can be asked for again and still happens once.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The longest key, in characters.
const MAX_KEY: usize = 128;

/// The value of an `Idempotency-Key` header: 1 to 255 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// A text that cannot be an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to {MAX_KEY} printable ASCII characters without spaces")]
pub struct KeyError;

impl IdempotencyKey {
    /// A key unlike any other.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The key as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or(KeyError)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_header_is_no_key() {
        assert!(
            "job-20260101-120000/disk-1/create"
                .parse::<IdempotencyKey>()
                .is_ok()
        );
        for text in ["", "a b", "a\r\nX-Other: 1", "schlüssel", &"x".repeat(256)] {
            assert_eq!(text.parse::<IdempotencyKey>(), Err(KeyError), "{text:?}");
        }
    }
}
