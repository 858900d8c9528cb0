//! The time zone in which times of day are meant, and which instant one of them is.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A time zone. The default is the machine's; UTC where the machine does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// There is no such time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no time zone `{0}` is known here: write an IANA name such as `Europe/Berlin` (they come with the package tzdata)"
)]
pub struct ZoneError(String);

impl Zone {
    /// The instant that a time of day is. Where clocks are put forward over it, and it does not exist, that is the first
    /// instant after the gap; where clocks are put back over it, and it exists twice, the first of the two.
    ///
    /// A later time of day is never an earlier instant.
    #[must_use]
    pub fn instant(&self, civil: DateTime) -> Timestamp {
        let ambiguous = self.0.to_ambiguous_timestamp(civil);
        let instant = match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => after
                .to_timestamp(civil)
                .ok()
                // With the later offset it lies before the change of clocks, which is what ends the gap.
                .and_then(|before| self.0.following(before).next())
                .map(|change| change.timestamp()),
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
        };
        // Fails only at the end of the year 9999.
        instant.unwrap_or(Timestamp::MAX)
    }

    /// Its IANA name, where it has one: what is read back to the same zone.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.iana_name()
    }

    /// What clocks show at an instant.
    #[must_use]
    pub fn civil(&self, instant: Timestamp) -> DateTime {
        self.0.to_datetime(instant)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::system())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TimeZone::get(name)
            .map(Self)
            .map_err(|_| ZoneError(name.to_owned()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("the machine's own time zone"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn times_that_do_not_exist_or_exist_twice_have_one_instant() {
        for (zone, civil, instant) in [
            ("Europe/Berlin", "2026-03-29T01:59:00", "2026-03-29T00:59:00Z"),
            ("Europe/Berlin", "2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:59:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            ("Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
            ("America/New_York", "2026-03-08T02:30:00", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"),
            // Half an hour, and a whole day that never was.
            (
                "Australia/Lord_Howe",
                "2026-10-04T02:15:00",
                "2026-10-03T15:30:00Z",
            ),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
            // Far beyond the table that comes with the zone.
            ("Europe/Berlin", "2150-03-29T02:30:00", "2150-03-29T01:00:00Z"),
        ] {
            let found = zone.parse::<Zone>().unwrap().instant(civil.parse().unwrap());
            assert_eq!(found, instant.parse().unwrap(), "{civil} {zone}");
        }
    }

    proptest! {
        #[test]
        fn a_later_time_of_day_is_never_an_earlier_instant(
            name in select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
            begin in 0_i64..366 * 24 * 60,
            later in 0_i64..180,
        ) {
            let zone: Zone = name.parse().unwrap();
            let civil = date(2026, 1, 1).at(0, 0, 0, 0) + begin.minutes();
            prop_assert!(zone.instant(civil) <= zone.instant(civil + later.minutes()));
        }
    }

    #[test]
    fn a_zone_that_is_none_is_named() {
        let error = "Europe/Belrin".parse::<Zone>().unwrap_err().to_string();
        assert!(
            error.contains("`Europe/Belrin`") && error.contains("tzdata"),
            "{error}"
        );
    }
}
