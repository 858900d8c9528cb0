//! A part of what somebody wrote that is not understood.

/// A part that is not understood, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is not understood: {problem}")]
pub struct NotationError {
    /// The part, as it was written.
    pub part: String,
    /// What is wrong with it and what to write.
    pub problem: String,
}

impl NotationError {
    pub(super) fn new(part: &str, problem: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            problem: problem.into(),
        }
    }
}
