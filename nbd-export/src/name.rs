//! The name of an export: harmless in a configuration file, in a file name and in a URI.

use std::{fmt, str::FromStr};

/// Longest name. NBD allows 4096 bytes; a drop-in file is called after the export, and a file name ends at 255.
const MAX: usize = 240;
/// nbd-server reads a section of this name as its global settings.
const RESERVED: &str = "generic";

/// A checked export name: 1 to 240 of `[A-Za-z0-9._-]`, starting with neither `-` nor `.`, not `generic`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportName(String);

/// Why a text cannot be an export name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("export name is empty")]
    Empty,
    /// More than 240 characters.
    #[error("export name is {length} characters long, 240 are allowed")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
    /// A character that could end the name and start something else in a configuration.
    #[error(
        "export name has {character:?} at position {position}: only letters, digits, '.', '_' and '-' are allowed"
    )]
    Character {
        /// The character.
        character: char,
        /// Its byte offset.
        position: usize,
    },
    /// `-` looks like an option, `.` hides a file.
    #[error("export name starts with {character:?}")]
    Start {
        /// The first character.
        character: char,
    },
    /// nbd-server's own section.
    #[error("export name \"generic\" is reserved by nbd-server's configuration")]
    Reserved,
}

impl ExportName {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let Some(character) = name.chars().next() else {
            return Err(NameError::Empty);
        };
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some((position, character)) = name.char_indices().find(|(_, c)| !allowed(c)) {
            return Err(NameError::Character { character, position });
        }
        if matches!(character, '-' | '.') {
            return Err(NameError::Start { character });
        }
        if name.len() > MAX {
            return Err(NameError::TooLong { length: name.len() });
        }
        if name == RESERVED {
            return Err(NameError::Reserved);
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExportName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "a",
            "migration-vol-6c1c9d3e-7d7b-4c5e-8f4f-0d9a3b1f2e11",
            "A.b_c-9",
            &"x".repeat(MAX),
        ] {
            assert_eq!(ExportName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn whatever_could_inject_configuration_is_refused() {
        let long = "x".repeat(MAX + 1);
        let hostile = [
            "",
            "-x",
            ".x",
            "..",
            "a\n[b]",
            "a]",
            "a=b",
            "a/b",
            "../a",
            "a\0",
            "a b",
            "a;b",
            "a#b",
            "a,b",
            "a%s",
            "a\\b",
            "é",
            "a\u{202e}b",
            "a\r",
            "\"a\"",
            "generic",
            &long,
        ];
        for name in hostile {
            assert!(ExportName::new(name).is_err(), "{name:?} was accepted");
        }
    }
}
