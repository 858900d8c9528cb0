//! A window of the day that comes again every week: `Mon..Fri 08:00-18:00`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};

use super::{NotationError, Weekdays, Zone};

/// Minutes of a week.
pub(super) const WEEK: usize = 7 * DAY;
const DAY: usize = 24 * 60;

/// A window of the day on some days of the week. Days are those on which it begins; it may end after midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: String,
    days: Weekdays,
    from: Time,
    /// On the next day, where it is not after `from`.
    until: Time,
}

impl Window {
    /// When the window that `instant` is in ends; nothing outside it. The end itself is outside.
    #[must_use]
    pub fn until(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        self.spans(instant, zone, 1)
            .filter(|(from, until)| *from <= instant && instant < *until)
            .map(|(_, until)| until)
            .max()
    }

    /// The instants at which it begins and ends, from the day before `instant` to some days after.
    pub(super) fn spans(
        &self,
        instant: Timestamp,
        zone: &Zone,
        days_after: i64,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = zone.civil(instant).date();
        (-1..=days_after)
            .map(move |day| today.saturating_add(day.days()))
            .filter(|day| self.days.contains(day.weekday()))
            .map(|day| self.span(day, zone))
    }

    fn span(&self, day: Date, zone: &Zone) -> (Timestamp, Timestamp) {
        let last = if self.until <= self.from {
            day.saturating_add(1.day())
        } else {
            day
        };
        (
            zone.instant(day.to_datetime(self.from)),
            zone.instant(last.to_datetime(self.until)),
        )
    }

    /// The minutes of a week, counted from Monday 00:00, that lie in it.
    pub(super) fn minutes(&self) -> impl Iterator<Item = usize> {
        let (from, until) = (minute_of_day(self.from), minute_of_day(self.until));
        let until = if until <= from { until + DAY } else { until };
        let monday = Date::new(1970, 1, 5).expect("a Monday");
        (0..7_usize)
            .zip(monday.series(1.day()))
            .filter(|(_, date)| self.days.contains(date.weekday()))
            .flat_map(move |(day, _)| (from..until).map(move |minute| (day * DAY + minute) % WEEK))
    }
}

fn minute_of_day(time: Time) -> usize {
    usize::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).expect("no time is negative")
}

/// As it was written.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Window {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let advice =
            "write `[days of the week] hour:minute-hour:minute`, such as `Mon..Fri 08:00-18:00` or `Sat,Sun`";
        let mut parts = text.split_whitespace();
        let mut part = parts.next().ok_or_else(|| NotationError::new(text, advice))?;
        let mut days = Weekdays::ALL;
        let mut times = Some(part);
        if part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            days = Weekdays::parse(part)?;
            times = parts.next();
        }
        part = times.unwrap_or("00:00-24:00");
        if let Some(rest) = parts.next() {
            return Err(NotationError::new(rest, advice));
        }
        let (from, until) = part
            .split_once('-')
            .ok_or_else(|| NotationError::new(part, advice))?;
        let (from, until) = (
            time(from)?,
            if until == "24:00" {
                Time::midnight()
            } else {
                time(until)?
            },
        );
        if from == until && part != "00:00-24:00" {
            let advice = "it begins and ends at one time; write `00:00-24:00` for a whole day";
            return Err(NotationError::new(part, advice));
        }
        Ok(Self {
            text: text.to_owned(),
            days,
            from,
            until,
        })
    }
}

fn time(text: &str) -> Result<Time, NotationError> {
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':')
        .filter(|(hour, minute)| digits(hour) && digits(minute))
        .and_then(|(hour, minute)| Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok())
        .ok_or_else(|| {
            NotationError::new(
                text,
                "write a time from 00:00 to 23:59; 24:00 is the end of a day",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(window: &str, civil: &str) -> Option<String> {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let instant = zone.instant(civil.parse().unwrap());
        let window: Window = window.parse().unwrap();
        Some(zone.civil(window.until(instant, &zone)?).to_string())
    }

    #[test]
    fn a_window_holds_its_begin_and_not_its_end() {
        let day = "Mon..Fri 08:00-18:00";
        assert_eq!(until(day, "2026-11-30T07:59:59"), None);
        assert_eq!(until(day, "2026-11-30T08:00:00").unwrap(), "2026-11-30T18:00:00");
        assert_eq!(until(day, "2026-11-30T18:00:00"), None);
        assert_eq!(until(day, "2026-11-28T12:00:00"), None, "a Saturday");
    }

    #[test]
    fn days_are_those_on_which_it_begins() {
        let night = "Fri 22:00-06:00";
        assert_eq!(
            until(night, "2026-11-27T23:00:00").unwrap(),
            "2026-11-28T06:00:00"
        );
        assert_eq!(
            until(night, "2026-11-28T05:59:00").unwrap(),
            "2026-11-28T06:00:00"
        );
        assert_eq!(until(night, "2026-11-28T23:00:00"), None);
        assert_eq!(until(night, "2026-11-27T05:00:00"), None);
        assert_eq!(
            until("Sat,Sun", "2026-11-29T23:59:00").unwrap(),
            "2026-11-30T00:00:00"
        );
    }

    #[test]
    fn clocks_that_change_move_its_ends() {
        // 02:30 exists twice; the window ends at the first.
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let window: Window = "01:00-02:30".parse().unwrap();
        let ends = window.until("2026-10-25T00:15:00Z".parse().unwrap(), &zone);
        assert_eq!(ends, Some("2026-10-25T00:30:00Z".parse().unwrap()));
        assert_eq!(window.until("2026-10-25T01:15:00Z".parse().unwrap(), &zone), None);
        // 02:00 to 03:00 does not exist.
        let eaten: Window = "02:00-03:00".parse().unwrap();
        assert_eq!(eaten.until("2026-03-29T01:00:00Z".parse().unwrap(), &zone), None);
    }

    #[test]
    fn what_is_no_window_is_named() {
        for (text, part) in [
            ("", ""),
            ("Mon 8-18", "8"),
            ("Mon 08:00", "08:00"),
            ("Mon 08:00-25:00", "25:00"),
            ("24:00-08:00", "24:00"),
            ("08:00-08:00", "08:00-08:00"),
            ("00:00-00:00", "00:00-00:00"),
            ("Moon 08:00-18:00", "Moon"),
            ("Mon 08:00-18:00 Europe/Berlin", "Europe/Berlin"),
            ("08:00 - 18:00", "-"),
            ("08:+5-18:00", "08:+5"),
        ] {
            assert_eq!(text.parse::<Window>().unwrap_err().part, part, "{text}");
        }
    }
}
