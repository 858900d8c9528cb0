//! How a calendar expression is read.

use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};

use super::super::numbers::Numbers;
use super::super::{NotationError, Weekdays};
use super::{Calendar, CalendarError, Days};

/// systemd's own bounds.
const YEARS: RangeInclusive<i16> = 1970..=2199;
const MONTHS: RangeInclusive<i16> = 1..=12;
const DAYS: RangeInclusive<i16> = 1..=31;
const HOURS: RangeInclusive<i16> = 0..=23;
const MINUTES: RangeInclusive<i16> = 0..=59;

/// The words that stand for whole expressions, as systemd.time(7) has them.
const WORDS: [(&str, &str); 9] = [
    ("minutely", "*-*-* *:*"),
    ("hourly", "*-*-* *:00"),
    ("daily", "*-*-* 00:00"),
    ("weekly", "Mon *-*-* 00:00"),
    ("monthly", "*-*-01 00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00"),
    ("semiannually", "*-01,07-01 00:00"),
    ("yearly", "*-01-01 00:00"),
    ("annually", "*-01-01 00:00"),
];

impl FromStr for Calendar {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if looks_like_cron(text) {
            return Err(CalendarError::Cron(text.to_owned()));
        }
        let calendar = read(text)?;
        let begin = DateTime::from_parts(
            Date::new(*YEARS.start(), 1, 1).expect("a day that there is"),
            Time::midnight(),
        );
        match calendar.next_civil(begin) {
            Some(_) => Ok(calendar),
            None => Err(CalendarError::Never(text.to_owned())),
        }
    }
}

/// Five or six fields and no colon: no expression of ours has more than three.
fn looks_like_cron(text: &str) -> bool {
    text.split_whitespace().count() >= 5 && !text.contains(':') || text.starts_with('@')
}

fn read(text: &str) -> Result<Calendar, NotationError> {
    let lower = text.to_ascii_lowercase();
    let word = WORDS.iter().find(|(word, _)| *word == lower);
    let whole = word.map_or(text, |(_, whole)| whole);
    let mut parts = whole.split_whitespace().peekable();
    if parts.peek().is_none() {
        let advice = "write when it is due, such as `Mon..Fri 22:00`, `*-*-1 03:00` or `daily`";
        return Err(NotationError::new("", advice));
    }
    let begins_with_letter = |part: &&str| part.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_date = |part: &&str| !part.contains(':') && part.contains(['-', '~']);
    let weekdays = parts.next_if(begins_with_letter).map(read_weekdays).transpose()?;
    let date = parts.next_if(is_date).unwrap_or("*-*-*");
    let time = parts.next_if(|part| part.contains(':')).unwrap_or("00:00");
    if let Some(rest) = parts.next() {
        return Err(NotationError::new(rest, advice_on_rest(rest)));
    }
    let (years, months, days) = read_date(date)?;
    let (hours, minutes) = read_time(time)?;
    Ok(Calendar {
        text: text.to_owned(),
        weekdays: weekdays.unwrap_or(Weekdays::ALL),
        years,
        months,
        days,
        hours,
        minutes,
    })
}

/// Days of the week; whoever did not mean any is told of the words.
fn read_weekdays(text: &str) -> Result<Weekdays, NotationError> {
    Weekdays::parse(text).map_err(|mut error| {
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        error.problem = format!("{}; or one word alone: {}", error.problem, words.join(", "));
        error
    })
}

fn advice_on_rest(rest: &str) -> &'static str {
    if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "days of the week stand first, once; a time zone stands in the key `zone`, not here"
    } else {
        "write `[days of the week] [year-month-day] [hour:minute]`, in this order"
    }
}

/// `[year-]month-day`, or `[year-]month~day`.
fn read_date(text: &str) -> Result<(Numbers, Numbers, Days), NotationError> {
    let advice = "write a date as year-month-day or month-day, such as `2026-12-24`, `*-*-1`, or `*-*~1` for the last day";
    let bad = || NotationError::new(text, advice);
    let (before, day) = text.rsplit_once(['-', '~']).ok_or_else(bad)?;
    let from_end = text.as_bytes().get(before.len()) == Some(&b'~');
    let (year, month) = before.split_once('-').unwrap_or(("*", before));
    if month.contains(['-', '~']) || year.contains('~') || month.is_empty() {
        return Err(bad());
    }
    if from_end && day.contains('/') {
        let advice =
            "days that are counted from the month's end take no steps; write a range, such as `~1..7`";
        return Err(NotationError::new(text, advice));
    }
    let days = Numbers::parse(day, &DAYS)?;
    let days = if from_end {
        Days::FromEnd(days)
    } else {
        Days::FromStart(days)
    };
    Ok((
        Numbers::parse(year, &YEARS)?,
        Numbers::parse(month, &MONTHS)?,
        days,
    ))
}

/// `hour:minute`, and `:00` after it where somebody writes it.
fn read_time(text: &str) -> Result<(Numbers, Numbers), NotationError> {
    let mut parts = text.split(':');
    let (hour, minute) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (parts.next(), parts.next()) {
        (None | Some("0" | "00"), None) => {}
        _ => {
            let advice = "write a time as hour:minute, such as `02:30`, `*:0/15`; schedules have no seconds";
            return Err(NotationError::new(text, advice));
        }
    }
    Ok((Numbers::parse(hour, &HOURS)?, Numbers::parse(minute, &MINUTES)?))
}
