//! How many bytes a second may be moved, by time of day and day of week.

mod follow;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Timestamp;

use super::{Window, Zone};
use crate::model::Size;

pub use follow::follow;

/// What every state of a week is seen within, with one in which clocks change.
const DAYS_AHEAD: i64 = 15;

/// A table of rates. The first window that holds a moment decides; where none does, the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// Where times of day are meant.
    pub zone: Zone,
    /// Outside the windows.
    pub default: Rate,
    /// The first that holds decides.
    pub windows: Vec<BandwidthWindow>,
}

/// A rate, and when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandwidthWindow {
    /// When.
    pub when: Window,
    /// At most so much.
    pub rate: Rate,
}

/// What may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rate {
    /// As much as there is.
    #[default]
    Unlimited,
    /// At most so many bytes a second.
    BytesPerSecond(NonZeroU64),
}

/// The rate at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandwidthNow {
    /// What may be moved.
    pub rate: Rate,
    /// When it changes next; nothing where it does not within two weeks.
    pub changes: Option<Timestamp>,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It is not understood.
    #[error("`{0}` is no rate: write a size for each second, such as `20 MiB/s`, or `unlimited`")]
    Unknown(String),
    /// Nothing would move.
    #[error(
        "`{0}` would hold every copy at a stop; write a rate above 0, or keep runs from beginning with a blackout"
    )]
    Zero(String),
}

impl Bandwidth {
    /// The rate at an instant, and when it changes next.
    #[must_use]
    pub fn at(&self, instant: Timestamp) -> BandwidthNow {
        let rate = self.rate(instant);
        let mut bounds: Vec<Timestamp> = self
            .windows
            .iter()
            .flat_map(|window| window.when.spans(instant, &self.zone, DAYS_AHEAD))
            .flat_map(|(from, until)| [from, until])
            .filter(|bound| *bound > instant)
            .collect();
        bounds.sort_unstable();
        bounds.dedup();
        BandwidthNow {
            rate,
            changes: bounds.into_iter().find(|bound| self.rate(*bound) != rate),
        }
    }

    fn rate(&self, instant: Timestamp) -> Rate {
        self.windows
            .iter()
            .find(|window| window.when.until(instant, &self.zone).is_some())
            .map_or(self.default, |window| window.rate)
    }
}

impl Rate {
    /// As [`crate::transfer::RateLimit`] takes it.
    #[must_use]
    pub fn bytes_per_second(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::BytesPerSecond(bytes) => Some(bytes.get()),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        let size = text.trim();
        let size: Size = size
            .strip_suffix("/s")
            .unwrap_or(size)
            .parse()
            .map_err(|_| RateError::Unknown(text.to_owned()))?;
        NonZeroU64::new(size.0)
            .map(Self::BytesPerSecond)
            .ok_or_else(|| RateError::Zero(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::BytesPerSecond(bytes) => write!(f, "{}/s", Size(bytes.get())),
        }
    }
}
