//! Schedules and bandwidth as they are written in a file, read with every problem at the key that it is at.

mod file;
#[cfg(test)]
mod tests;
mod text;
mod watch;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bandwidth, Blackouts, Calendar, InBlackout, Selection, Zone};
use text::{PlanText, ScheduleText};

pub use file::PlanFileError;
pub use watch::PlanWatch;

/// All schedules, and the bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each has a name of its own.
    pub schedules: Vec<Schedule>,
    /// How much may be moved when; nothing is said of it where there is none.
    pub bandwidth: Option<Bandwidth>,
}

/// What is to begin when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleText", into = "ScheduleText")]
pub struct Schedule {
    /// What records call it. A schedule under another name is another schedule.
    pub name: String,
    /// When it is due.
    pub calendar: Calendar,
    /// Where times of day are meant: the calendar's and the blackouts'.
    pub zone: Zone,
    /// When no run begins.
    pub blackouts: Blackouts,
    /// What becomes of a run that is due in a blackout.
    pub in_blackout: InBlackout,
    /// What is begun, in this order.
    pub what: Vec<Selection>,
}

/// Why a plan cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is not TOML, has a key that is not known, or lacks one.
    #[error("{0}")]
    Syntax(Box<toml::de::Error>),
    /// Values are not what they should be; all of them are listed.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// One value that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Problem {
    /// Where it is, such as `schedule.nightly.calendar`.
    pub key: String,
    /// What is wrong and what to write.
    pub problem: String,
}

impl Plan {
    /// Reads a plan; `docs/scheduling.md` describes it.
    ///
    /// # Errors
    /// Everything that is wrong with its values at once; where its form is wrong, the first such place.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let text: PlanText = toml::from_str(text).map_err(|error| PlanError::Syntax(Box::new(error)))?;
        text.read().map_err(PlanError::Problems)
    }
}

impl Problem {
    fn new(key: String, problem: impl fmt::Display) -> Self {
        Self {
            key,
            problem: problem.to_string(),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
