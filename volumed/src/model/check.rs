//! What a check of the surroundings found: how it is, and what to do where it is not well.

use super::text::text_enum;

text_enum! {
    /// How a thing that was checked stands.
    CheckStatus ("check status") {
        /// As it should be.
        Passed = "passed",
        /// It works, but not as well or as safely as it could; or it could not be told.
        Warning = "warning",
        /// Something will not work.
        Failed = "failed",
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked, in a closed set of short names: `credentials`, `clock`, `permission deleteVolume`.
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

impl Check {
    /// A thing that is as it should be.
    pub fn passed(name: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: CheckStatus::Passed,
            seen: seen.into(),
            advice: None,
        }
    }

    /// A thing that could be better, or could not be told.
    pub fn warning(name: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Warning,
            advice: Some(advice.into()),
            ..Self::passed(name, seen)
        }
    }

    /// A thing that will not work.
    pub fn failed(name: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Failed,
            advice: Some(advice.into()),
            ..Self::passed(name, seen)
        }
    }
}
