//! A point in time of a disk, as change tracking names it.

use std::fmt;
use std::str::FromStr;

/// `uuid/n`: the epoch that tracking began in, and a number that grows in it. Kept to the letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeId {
    text: String,
    slash: usize,
    number: u64,
}

/// The text is no change id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no change id: it reads `uuid/number`")]
pub struct ChangeIdParseError {
    /// What was given.
    pub text: String,
}

impl ChangeId {
    /// The epoch, as the host writes it: a UUID with spaces or dashes anywhere.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The number within the epoch.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The whole id, as the host wants it back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both are of one epoch. If not, tracking was reset in between: what changed is not known.
    #[must_use]
    pub fn is_same_epoch(&self, other: &Self) -> bool {
        self.digits().eq(other.digits())
    }

    fn digits(&self) -> impl Iterator<Item = char> {
        self.epoch()
            .chars()
            .filter(|c| !matches!(c, ' ' | '-'))
            .map(|c| c.to_ascii_lowercase())
    }
}

impl FromStr for ChangeId {
    type Err = ChangeIdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let parsed = text.rfind('/').and_then(|slash| {
            let number = &text[slash + 1..];
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|_| is_number)?;
            let id = Self {
                text: text.to_owned(),
                slash,
                number,
            };
            let has_digits = id.digits().next().is_some();
            has_digits.then_some(id)
        });
        parsed.ok_or_else(|| ChangeIdParseError {
            text: text.chars().take(120).flat_map(char::escape_debug).collect(),
        })
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
