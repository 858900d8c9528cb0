//! How the content of disks is hashed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How blocks are hashed. Reads and prints as `xxh3` or `blake3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum DigestKind {
    /// Cryptographic: nobody can make two contents of one digest.
    #[serde(rename = "blake3-tree")]
    Blake3,
    /// Fast; against accidents only.
    #[default]
    #[serde(rename = "xxh3-tree")]
    Xxh3,
}

/// A text that names no kind of digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `xxh3` or `blake3`")]
pub struct ParseDigestKindError;

impl fmt::Display for DigestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blake3 => "blake3",
            Self::Xxh3 => "xxh3",
        })
    }
}

impl FromStr for DigestKind {
    type Err = ParseDigestKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "blake3" => Ok(Self::Blake3),
            "xxh3" => Ok(Self::Xxh3),
            _ => Err(ParseDigestKindError),
        }
    }
}
