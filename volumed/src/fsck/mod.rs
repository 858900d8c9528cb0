//! The examination of a database: by itself, by our own rules, and each volume against cloud and kernel. Nothing is changed.

mod records;

use std::fmt;

pub use records::examine as examine_records;

/// What was found, and what could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// What is not as it should be.
    pub findings: Vec<FsckFinding>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// What is good to know about how it was looked at.
    pub notes: Vec<String>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckFinding {
    /// What was seen.
    pub what: String,
    /// What that means.
    pub meaning: String,
    /// What to do.
    pub advice: String,
}

impl FsckFinding {
    /// A finding.
    pub(crate) fn new(
        what: impl Into<String>,
        meaning: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            meaning: meaning.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for found in &self.findings {
            writeln!(f, "FOUND: {}; {}; {}", found.what, found.meaning, found.advice)?;
        }
        for unseen in &self.unseen {
            writeln!(f, "NOT EXAMINED: {unseen}")?;
        }
        match (self.findings.len(), self.unseen.len()) {
            (0, 0) => writeln!(f, "nothing was found"),
            (found, unseen) => writeln!(f, "{found} found, {unseen} not examined"),
        }
    }
}
