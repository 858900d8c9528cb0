//! What can be wrong with a configuration: each thing by itself, and all of them together.

use std::fmt;
use std::path::PathBuf;

use super::Origin;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read.
    #[error("cannot read configuration {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration {path} is not TOML: {source}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// There is no such key.
    #[error("unknown key `{key}` in {origin}; known are: {known}")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The keys that there are.
        known: String,
    },
    /// A value is not one that the key takes.
    #[error("`{key}` is {value} in {origin}; allowed: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value as it was written.
        value: String,
        /// Where it was written.
        origin: Origin,
        /// What the key takes.
        allowed: String,
    },
    /// A key that must have a value has none.
    #[error("`{key}` is missing: it is needed where {because}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Why it is needed.
        because: &'static str,
    },
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigError {
    /// Each thing by itself; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.problems.iter();
        if let Some(first) = lines.next() {
            write!(f, "{first}")?;
        }
        lines.try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
