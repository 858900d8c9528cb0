//! Times in which no run begins.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::window::WEEK;
use super::{NotationError, Window, Zone};

/// A time in which no run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blackout {
    /// Each week: `Mon..Fri 08:00-18:00`.
    Recurring(Window),
    /// Once: `2026-12-24T00:00/2027-01-02T00:00`, or dates alone, which begin at midnight.
    Dated {
        /// The first moment.
        from: DateTime,
        /// The first moment after it.
        until: DateTime,
    },
}

/// The blackouts of a schedule. They leave some time of each week free.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blackouts(Vec<Blackout>);

/// Why blackouts cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlackoutError {
    /// A part of one is not understood.
    #[error(transparent)]
    Part(#[from] NotationError),
    /// It ends before it begins.
    #[error("`{0}` ends before it begins; write the earlier time first")]
    Backwards(String),
    /// They leave nothing free.
    #[error("the blackouts cover the whole week, so that no run could ever begin; leave some time free")]
    Always,
}

/// What becomes of a run that is due in a blackout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InBlackout {
    /// It begins when the blackout ends; several that are due in one blackout are one run.
    #[default]
    Defer,
    /// It does not take place, and that is said.
    Skip,
}

impl Blackouts {
    /// Takes blackouts together.
    ///
    /// # Errors
    /// [`BlackoutError::Always`] where the recurring ones cover the whole week.
    pub fn new(blackouts: Vec<Blackout>) -> Result<Self, BlackoutError> {
        let mut covered = vec![false; WEEK];
        for blackout in &blackouts {
            if let Blackout::Recurring(window) = blackout {
                window.minutes().for_each(|minute| covered[minute] = true);
            }
        }
        match covered.iter().all(|minute| *minute) {
            true => Err(BlackoutError::Always),
            false => Ok(Self(blackouts)),
        }
    }

    /// When the blackout that `instant` is in ends, with those that follow on it without a gap; nothing outside them.
    #[must_use]
    pub fn until(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        // Ends, because each round goes forward and some time of each week is free.
        let mut end = None;
        while let Some(later) = self.one_until(end.unwrap_or(instant), zone) {
            end = Some(later);
        }
        end
    }

    fn one_until(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        self.0
            .iter()
            .filter_map(|blackout| blackout.until(instant, zone))
            .max()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Blackout> {
        self.0.iter()
    }
}

impl Blackout {
    /// When it ends, where `instant` is in it. The end itself is outside.
    #[must_use]
    pub fn until(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        match self {
            Self::Recurring(window) => window.until(instant, zone),
            Self::Dated { from, until } => {
                let (from, until) = (zone.instant(*from), zone.instant(*until));
                (from <= instant && instant < until).then_some(until)
            }
        }
    }
}

impl FromStr for Blackout {
    type Err = BlackoutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((from, until)) = text.split_once('/') else {
            return Ok(Self::Recurring(text.parse()?));
        };
        let (from, until) = (moment(from.trim())?, moment(until.trim())?);
        if until <= from {
            return Err(BlackoutError::Backwards(text.to_owned()));
        }
        Ok(Self::Dated { from, until })
    }
}

/// A date, with or without a time of day. No offset: it is meant in the schedule's zone.
fn moment(text: &str) -> Result<DateTime, NotationError> {
    DateTime::strptime("%Y-%m-%dT%H:%M", text)
        .or_else(|_| DateTime::strptime("%Y-%m-%dT%H:%M", format!("{text}T00:00")))
        .map_err(|_| {
            NotationError::new(
                text,
                "write a moment as `2026-12-24T00:00` or `2026-12-24`, without a zone",
            )
        })
}

/// As it can be read again.
impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = "%Y-%m-%dT%H:%M";
        match self {
            Self::Recurring(window) => window.fmt(f),
            Self::Dated { from, until } => write!(f, "{}/{}", from.strftime(format), until.strftime(format)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blackouts(texts: &[&str]) -> Result<Blackouts, BlackoutError> {
        Blackouts::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn until(texts: &[&str], civil: &str) -> Option<String> {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let instant = zone.instant(civil.parse().unwrap());
        Some(
            zone.civil(blackouts(texts).unwrap().until(instant, &zone)?)
                .to_string(),
        )
    }

    #[test]
    fn blackouts_that_follow_on_one_another_end_together() {
        let all = [
            "Fri 22:00-06:00",
            "Sat 06:00-24:00",
            "2026-11-29/2026-11-29T09:30",
        ];
        assert_eq!(until(&all, "2026-11-27T23:00").unwrap(), "2026-11-29T09:30:00");
        assert_eq!(until(&all, "2026-11-29T09:30"), None);
        assert_eq!(
            until(&all[..1], "2026-11-27T23:00").unwrap(),
            "2026-11-28T06:00:00"
        );
    }

    #[test]
    fn blackouts_that_leave_nothing_free_are_refused() {
        assert_eq!(blackouts(&["00:00-24:00"]), Err(BlackoutError::Always));
        assert_eq!(
            blackouts(&["08:00-20:00", "20:00-08:00"]),
            Err(BlackoutError::Always)
        );
        assert!(blackouts(&["08:00-20:00", "20:00-07:59"]).is_ok());
        assert!(blackouts(&["1970-01-01/2200-01-01"]).is_ok());
    }

    #[test]
    fn dated_ones_are_read_strictly() {
        let text = "2026-12-24T00:00/2027-01-02T00:00";
        assert_eq!(text.parse::<Blackout>().unwrap().to_string(), text);
        assert_eq!("2026-12-24 / 2027-01-02".parse::<Blackout>(), text.parse());
        for bad in [
            "2026-12-24T00:00Z/2027-01-02",
            "2026-12-24T00:00-04/2027-01-02",
            "2026-12-24T00:00[Europe/Berlin]/2027-01-02",
            "2026-02-30/2026-03-01",
            "2027-01-02/2026-12-24",
            "2027-01-02/2027-01-02",
            "2027-01-02/",
            "/",
        ] {
            assert!(bad.parse::<Blackout>().is_err(), "{bad}");
        }
    }
}
