//! A calendar expression: on which days and at which times of day something is due.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan};

use super::numbers::Numbers;
use super::{NotationError, Weekdays, Zone};

/// A calendar expression in the notation of systemd's `OnCalendar=` (systemd.time(7)), to the minute.
///
/// One notation, and this one because Debian's administrators write it in their timers, because it says `Mon..Fri` where cron
/// says `1-5`, because a day of the week *and* a day of the month mean both (cron: either), and because
/// `systemd-analyze calendar` explains it. What is accepted here is accepted there and means the same; only where clocks
/// are put forward or back, [`Zone::instant`] decides.
///
/// `[days of the week] [[year-]month-day] [hour:minute]`, or one of `minutely`, `hourly`, `daily`, `weekly`, `monthly`,
/// `quarterly`, `semiannually`, `yearly`. A component is `*`, a number, a range `1..5`, steps `0/15` or `10..20/5`, or
/// several with commas. `~` before the day counts from the month's end: `*-*~1` is its last day.
/// Not taken, and refused by name: seconds other than 00, and a time zone inside the expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    text: String,
    weekdays: Weekdays,
    years: Numbers,
    months: Numbers,
    days: Days,
    hours: Numbers,
    minutes: Numbers,
}

/// Days of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    /// 1 is the first.
    FromStart(Numbers),
    /// 1 is the last.
    FromEnd(Numbers),
}

/// Why a text is no calendar expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// A part of it is not understood.
    #[error(transparent)]
    Part(#[from] NotationError),
    /// It is written for cron.
    #[error("`{0}` is written for cron; write it as systemd's timers do, `30 2 * * 1-5` as `Mon..Fri 02:30`")]
    Cron(String),
    /// There is no such day.
    #[error("`{0}` never comes: no day until the year 2199 is meant by it")]
    Never(String),
}

impl Calendar {
    /// The first instant after `after` at which it is due; nothing where none comes until the year 2199.
    ///
    /// Times that fall on one instant, because clocks are put forward over them, are due once.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let now = zone.civil(after);
        let mut from = now.date().at(now.hour(), now.minute(), 0, 0);
        loop {
            let civil = self.next_civil(from)?;
            let instant = zone.instant(civil);
            if instant > after {
                return Some(instant);
            }
            from = civil.saturating_add(1.minute());
        }
    }

    /// The first time of day that is meant, not before `from`.
    fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        if let Some(time) = self.time_from(from.time())
            && self.means(from.date())
        {
            return Some(from.date().to_datetime(time));
        }
        let mut day = from.date().tomorrow().ok()?;
        while !self.means(day) {
            day = self.candidate_after(day)?;
        }
        Some(day.to_datetime(self.time_from(Time::midnight())?))
    }

    /// The day to look at after one that is not meant; whole months and years are passed over.
    fn candidate_after(&self, day: Date) -> Option<Date> {
        let year = self.years.at_least(day.year())?;
        if year != day.year() {
            Date::new(year, 1, 1).ok()
        } else if self.months.contains(day.month().into()) {
            day.tomorrow().ok()
        } else {
            day.last_of_month().tomorrow().ok()
        }
    }

    fn means(&self, day: Date) -> bool {
        self.years.contains(day.year())
            && self.months.contains(day.month().into())
            && self.weekdays.contains(day.weekday())
            && match &self.days {
                Days::FromStart(days) => days.contains(day.day().into()),
                Days::FromEnd(days) => days.contains((day.days_in_month() - day.day() + 1).into()),
            }
    }

    fn time_from(&self, earliest: Time) -> Option<Time> {
        let hour = self.hours.at_least(earliest.hour().into())?;
        let (hour, minute) = if hour != i16::from(earliest.hour()) {
            (hour, self.minutes.first())
        } else if let Some(minute) = self.minutes.at_least(earliest.minute().into()) {
            (hour, minute)
        } else {
            (self.hours.at_least(hour + 1)?, self.minutes.first())
        };
        Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
    }
}

/// As it was written.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
