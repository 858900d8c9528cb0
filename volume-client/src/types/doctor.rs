//! What an examination of the daemon and its surroundings found, and how it reads for people.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `GET /api/v1/doctor`, and what `volumed doctor --json` prints.
///
/// Its `Display` is the table that people get: a line for each check, what to do beneath it, and a count at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DoctorReport {
    /// The version that examined.
    pub version: String,
    /// When it was asked.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub examined_at: Timestamp,
    /// What was checked, by area.
    pub checks: Vec<DoctorCheck>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DoctorCheck {
    /// What it is a part of.
    pub area: CheckArea,
    /// What was checked, in a few words: `credentials`, `udevd`, `free space`.
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckArea {
    /// The provider of the volumes.
    Cloud,
    /// The block devices of this machine, and what tells of them.
    Devices,
    /// The rest of this machine.
    Host,
    /// The daemon itself.
    Daemon,
}

/// How a thing that was checked stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Passed,
    /// It works, but not as well or as safely as it could; or it could not be told.
    Warning,
    /// Something will not work.
    Failed,
}

impl DoctorReport {
    /// How many checks stand like this.
    #[must_use]
    pub fn count(&self, status: CheckStatus) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    /// Whether something will not work.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.count(CheckStatus::Failed) > 0
    }
}

impl CheckArea {
    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Devices => "devices",
            Self::Host => "host",
            Self::Daemon => "daemon",
        }
    }
}

impl CheckStatus {
    /// The word that people read: what needs somebody stands out.
    fn for_people(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name_width = self.checks.iter().map(|check| check.name.chars().count());
        let width = name_width.chain(["CHECK".len()]).max().unwrap_or(0);
        writeln!(f, "STATUS   AREA     {:width$}  SEEN", "CHECK")?;
        let indent = " ".repeat("STATUS   AREA     ".len() + width + 2);
        for check in &self.checks {
            let (status, area) = (check.status.for_people(), check.area.as_str());
            let (name, seen) = (plain(&check.name), plain(&check.seen));
            writeln!(f, "{status:7}  {area:7}  {name:width$}  {seen}")?;
            if let Some(advice) = &check.advice {
                writeln!(f, "{indent}-> {}", plain(advice))?;
            }
        }
        let [passed, warnings, failed] =
            [CheckStatus::Passed, CheckStatus::Warning, CheckStatus::Failed].map(|status| self.count(status));
        write!(f, "{passed} passed, {warnings} to look at, {failed} failed")
    }
}

/// Serials, names of files and what a server said come from elsewhere: nothing in them may reach a terminal as a command.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: CheckStatus, seen: &str) -> DoctorCheck {
        DoctorCheck {
            area: CheckArea::Devices,
            name: "links".to_owned(),
            status,
            seen: seen.to_owned(),
            advice: (status != CheckStatus::Passed).then(|| "look\nat it".to_owned()),
        }
    }

    fn report(checks: Vec<DoctorCheck>) -> DoctorReport {
        DoctorReport {
            version: "0.1.0".to_owned(),
            examined_at: Timestamp::UNIX_EPOCH,
            checks,
        }
    }

    #[test]
    fn only_a_failure_is_a_failure() {
        let good = report(vec![
            check(CheckStatus::Passed, "a"),
            check(CheckStatus::Warning, "b"),
        ]);
        assert!(!good.has_failures());
        assert!(report(vec![check(CheckStatus::Failed, "c")]).has_failures());
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let shown = report(vec![check(CheckStatus::Failed, "serial \u{1b}[2J")]).to_string();
        let expected = "STATUS   AREA     CHECK  SEEN\nFAILED   devices  links  serial ?[2J\n\
                        \x20                        -> look?at it\n0 passed, 0 to look at, 1 failed";
        assert_eq!(shown, expected);
    }

    #[test]
    fn words_on_the_wire_are_the_words_of_the_table() {
        for area in [
            CheckArea::Cloud,
            CheckArea::Devices,
            CheckArea::Host,
            CheckArea::Daemon,
        ] {
            assert_eq!(serde_json::to_value(area).unwrap(), area.as_str());
        }
    }
}
