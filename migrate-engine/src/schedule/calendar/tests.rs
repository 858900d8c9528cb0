//! Calendar expressions by example, against brute force, and against systemd's own reading.

use std::collections::BTreeSet;
use std::process::Command;

use jiff::civil::{DateTime, Weekday};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Calendar, CalendarError};
use crate::schedule::Zone;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// The next runs after a moment, as clocks there show them.
fn next(expression: &str, zone: &Zone, after: &str, count: usize) -> Vec<String> {
    let calendar: Calendar = expression.parse().unwrap();
    instants(&calendar, zone, zone.instant(after.parse().unwrap()), count)
        .into_iter()
        .map(|instant| zone.civil(instant).strftime("%F %H:%M").to_string())
        .collect()
}

fn instants(calendar: &Calendar, zone: &Zone, after: Timestamp, count: usize) -> Vec<Timestamp> {
    std::iter::successors(calendar.next_after(after, zone), |last| {
        calendar.next_after(*last, zone)
    })
    .take(count)
    .collect()
}

#[test]
fn expressions_mean_what_administrators_expect() {
    let berlin = zone("Europe/Berlin");
    // A Monday, at a time that some of them mean: the next is strictly later.
    let after = "2026-11-30T22:00";
    for (expression, runs) in [
        ("Mon..Fri 22:00", ["2026-12-01 22:00", "2026-12-02 22:00"]),
        ("*-*-* 02:30", ["2026-12-01 02:30", "2026-12-02 02:30"]),
        ("22:00:00", ["2026-12-01 22:00", "2026-12-02 22:00"]),
        ("Sat,Sun 01:00", ["2026-12-05 01:00", "2026-12-06 01:00"]),
        ("daily", ["2026-12-01 00:00", "2026-12-02 00:00"]),
        ("Hourly", ["2026-11-30 23:00", "2026-12-01 00:00"]),
        ("weekly", ["2026-12-07 00:00", "2026-12-14 00:00"]),
        ("Mon", ["2026-12-07 00:00", "2026-12-14 00:00"]),
        ("*-*-1 03:00", ["2026-12-01 03:00", "2027-01-01 03:00"]),
        ("*:0/15", ["2026-11-30 22:15", "2026-11-30 22:30"]),
        ("8..20/6:5", ["2026-12-01 08:05", "2026-12-01 14:05"]),
        ("quarterly", ["2027-01-01 00:00", "2027-04-01 00:00"]),
        ("12-24,31 18:00", ["2026-12-24 18:00", "2026-12-31 18:00"]),
        ("2027..2028-06-01", ["2027-06-01 00:00", "2028-06-01 00:00"]),
        // The second Tuesday and the last Friday of each month.
        ("Tue *-*-8..14 21:00", ["2026-12-08 21:00", "2027-01-12 21:00"]),
        ("Fri *-*~1..7 21:00", ["2026-12-25 21:00", "2027-01-29 21:00"]),
    ] {
        assert_eq!(next(expression, &berlin, after, 2), runs, "{expression}");
    }
}

#[test]
fn months_end_where_they_end() {
    let utc = zone("UTC");
    let runs = next("*-*-31 23:59", &utc, "2026-01-31T23:59", 3);
    assert_eq!(runs, ["2026-03-31 23:59", "2026-05-31 23:59", "2026-07-31 23:59"]);
    let last_days = next("*-*~1", &utc, "2028-01-31T00:00", 3);
    assert_eq!(
        last_days,
        ["2028-02-29 00:00", "2028-03-31 00:00", "2028-04-30 00:00"]
    );
    let leap = next("02-29", &utc, "2026-01-01T00:00", 2);
    assert_eq!(leap, ["2028-02-29 00:00", "2032-02-29 00:00"]);
    // 2100 is no leap year.
    assert_eq!(next("02-29", &utc, "2096-03-01T00:00", 1), ["2104-02-29 00:00"]);
    assert_eq!(
        next("Mon 02-29", &utc, "2026-01-01T00:00", 1),
        ["2044-02-29 00:00"]
    );
}

#[test]
fn what_lies_in_the_past_comes_no_more() {
    let utc = zone("UTC");
    assert!(next("2020-01-01", &utc, "2026-01-01T00:00", 1).is_empty());
    assert!(next("daily", &utc, "2199-12-31T00:00", 1).is_empty());
}

#[test]
fn a_time_that_does_not_exist_comes_right_after_the_gap() {
    let (berlin, york) = (zone("Europe/Berlin"), zone("America/New_York"));
    assert_eq!(
        next("02:30", &berlin, "2026-03-28T02:30", 2),
        ["2026-03-29 03:00", "2026-03-30 02:30"]
    );
    assert_eq!(
        next("Sun 02:30", &york, "2026-03-07T00:00", 2),
        ["2026-03-08 03:00", "2026-03-15 02:30"]
    );
    // What the gap puts on one instant is due once.
    assert_eq!(
        next("*:0/20", &berlin, "2026-03-29T01:20", 3),
        ["2026-03-29 01:40", "2026-03-29 03:00", "2026-03-29 03:20"]
    );
}

#[test]
fn a_time_that_exists_twice_comes_the_first_time() {
    for (name, before, expression, first, then) in [
        (
            "Europe/Berlin",
            "2026-10-24T12:00",
            "02:30",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
        ),
        (
            "America/New_York",
            "2026-10-31T12:00",
            "01:30",
            "2026-11-01T05:30:00Z",
            "2026-11-02T06:30:00Z",
        ),
    ] {
        let (zone, calendar) = (zone(name), expression.parse::<Calendar>().unwrap());
        let found = instants(&calendar, &zone, zone.instant(before.parse().unwrap()), 2);
        assert_eq!(found, [first.parse().unwrap(), then.parse().unwrap()], "{name}");
    }
    // Asked between the two, it is over.
    let calendar: Calendar = "02:30".parse().unwrap();
    let second = "2026-10-25T01:15:00Z".parse().unwrap();
    assert_eq!(
        calendar.next_after(second, &zone("Europe/Berlin")),
        Some("2026-10-26T01:30:00Z".parse().unwrap())
    );
}

#[test]
fn what_never_comes_is_refused() {
    for expression in ["02-30", "*-4-31", "*-02~30", "Mon 2026-12-25", "2026-02-29"] {
        let refused = expression.parse::<Calendar>();
        assert_eq!(refused, Err(CalendarError::Never(expression.to_owned())));
    }
}

#[test]
fn what_is_not_understood_is_named_and_an_advice_is_given() {
    for (expression, part, advice) in [
        ("", "", "`daily`"),
        ("Mon..Fry 22:00", "Fry", "Mon..Fri"),
        ("dayly", "dayly", "daily"),
        ("Mon 25:00", "25", "from 0 to 23"),
        ("Mon 22:60", "60", "from 0 to 59"),
        ("Mon 22h", "22h", "in this order"),
        ("22:00 Mon", "Mon", "stand first"),
        ("22:00 Europe/Berlin", "Europe/Berlin", "key `zone`"),
        ("22:00 UTC", "UTC", "key `zone`"),
        ("22:00:30", "22:00:30", "no seconds"),
        ("*:*:*", "*:*:*", "no seconds"),
        ("*:*/15", "*/15", "0/15"),
        ("1-5:00", "1-5", "`0..23`"),
        ("*-13-1", "13", "from 1 to 12"),
        ("26-12-24", "26", "from 1970"),
        ("*-*-0", "0", "from 1 to 31"),
        ("*-*~7/1", "*-*~7/1", "~1..7"),
        ("*-*-~1", "*-*-~1", "*-*~1"),
        ("1-2-3-4", "1-2-3-4", "year-month-day"),
        ("-1", "-1", "year-month-day"),
        ("2026-12-24T02:30", "2026-12-24T02", "from 0 to 23"),
        ("daily 22:00", "daily", "one word alone"),
        ("Mon Tue 22:00", "Tue", "once"),
        ("Mon *-*-*\u{a0}02:30 \u{fc}", "\u{fc}", "in this order"),
    ] {
        match expression.parse::<Calendar>() {
            Err(CalendarError::Part(error)) => {
                assert_eq!(error.part, part, "{expression}");
                assert!(error.problem.contains(advice), "{expression}: {error}");
            }
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn cron_is_known_and_translated_by_example() {
    for expression in ["30 2 * * 1-5", "0 30 2 * * *", "*/15 * * * *", "@daily"] {
        let error = expression.parse::<Calendar>().unwrap_err();
        assert!(matches!(error, CalendarError::Cron(_)), "{expression}");
        assert!(error.to_string().contains("Mon..Fri 02:30"), "{error}");
    }
}

/// An expression, and what it means by sets that were chosen before it was written.
#[derive(Debug, Clone)]
struct Meant {
    text: String,
    weekdays: BTreeSet<i8>,
    days: BTreeSet<i8>,
    from_end: bool,
    hours: BTreeSet<i8>,
    minutes: BTreeSet<i8>,
}

impl Meant {
    fn means(&self, civil: DateTime) -> bool {
        let day = match self.from_end {
            true => civil.days_in_month() - civil.day() + 1,
            false => civil.day(),
        };
        self.weekdays.contains(&civil.weekday().to_monday_one_offset())
            && self.days.contains(&day)
            && self.hours.contains(&civil.hour())
            && self.minutes.contains(&civil.minute())
    }
}

/// A component as text, and its numbers.
fn component(least: i8, most: i8) -> impl Strategy<Value = (String, BTreeSet<i8>)> {
    let all: Vec<i8> = (least..=most).collect();
    let steps = (least..=most, 1..=most).prop_map(move |(from, step)| {
        let numbers = (from..=most).step_by(usize::try_from(step).unwrap()).collect();
        (format!("{from}/{step}"), numbers)
    });
    let range = (least..=most, least..=most).prop_map(|(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        (format!("{a}..{b}"), (a..=b).collect())
    });
    let list = subsequence(all.clone(), 1..5).prop_shuffle().prop_map(|numbers| {
        let texts: Vec<String> = numbers.iter().map(i8::to_string).collect();
        (texts.join(","), numbers.into_iter().collect())
    });
    prop_oneof![
        Just(("*".to_owned(), all.into_iter().collect())),
        steps,
        range,
        list
    ]
}

fn meant() -> impl Strategy<Value = Meant> {
    let weekdays = prop_oneof![
        Just((1..=7).collect()),
        subsequence((1..=7_i8).collect::<Vec<_>>(), 1..7)
    ];
    // Half of the cases are about the hours in which clocks change.
    let days = prop_oneof![Just(("*".to_owned(), (1..=31).collect())), component(1, 31)];
    let small_hours = subsequence(vec![1_i8, 2, 3], 1..3).prop_map(|hours| {
        let texts: Vec<String> = hours.iter().map(i8::to_string).collect();
        (texts.join(","), hours.into_iter().collect())
    });
    let hours = prop_oneof![small_hours, component(0, 23)];
    let parts = (weekdays, days, any::<bool>(), hours, component(0, 59));
    parts.prop_map(|(weekdays, days, from_end, hours, minutes)| {
        let from_end = from_end && !days.0.contains('/');
        let names: Vec<String> = weekdays
            .iter()
            .map(|day| format!("{:?}", Weekday::from_monday_one_offset(*day).unwrap()))
            .collect();
        let mark = if from_end { '~' } else { '-' };
        Meant {
            text: format!(
                "{} *-*{mark}{} {}:{}",
                names.join(","),
                days.0,
                hours.0,
                minutes.0
            ),
            weekdays: weekdays.into_iter().collect(),
            days: days.1,
            from_end,
            hours: hours.1,
            minutes: minutes.1,
        }
    })
}

/// Every run in some weeks, found by looking at each minute of the world: what its clock shows there for the first time,
/// and what the clock passed over to show it.
fn by_brute_force(meant: &Meant, zone: &Zone, from: Timestamp, weeks: i64) -> Vec<Timestamp> {
    let (mut runs, mut shown) = (Vec::new(), BTreeSet::new());
    let mut last = zone.civil(from);
    // What clocks showed shortly before belongs to what was shown already.
    for minute in -180..weeks * 7 * 24 * 60 {
        let instant = from + minute.minutes();
        let civil = zone.civil(instant);
        let mut passed = last.saturating_add(1.minute());
        let mut is_due = shown.insert(civil) && meant.means(civil);
        while passed < civil {
            is_due |= shown.insert(passed) && meant.means(passed);
            passed = passed.saturating_add(1.minute());
        }
        last = civil;
        if is_due && minute > 0 {
            runs.push(instant);
        }
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn runs_increase_and_are_those_of_brute_force(
        meant in meant(),
        (name, from) in select(vec![
            ("Europe/Berlin", "2026-03-15T00:00:00Z"),
            ("Europe/Berlin", "2026-10-11T00:00:00Z"),
            ("America/New_York", "2026-02-22T00:00:00Z"),
            ("America/New_York", "2026-10-18T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-03-22T00:00:00Z"),
            ("Asia/Kathmandu", "2028-02-20T00:00:00Z"),
        ]),
    ) {
        let (zone, from): (Zone, Timestamp) = (zone(name), from.parse().unwrap());
        let expected = by_brute_force(&meant, &zone, from, 3);
        let Ok(calendar) = meant.text.parse::<Calendar>() else {
            prop_assert!(expected.is_empty(), "{} was refused", meant.text);
            return Ok(());
        };
        let found = instants(&calendar, &zone, from, expected.len() + 1);
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(&found[..expected.len()], &expected[..]);
        let end = from + (3 * 7 * 24).hours();
        prop_assert!(found.get(expected.len()).is_none_or(|next| *next >= end));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[A-Za-z0-9*.,/:~ \u{e4}-]{0,24}") {
        let _ = text.parse::<Calendar>();
    }
}

/// What is accepted is accepted by systemd and means the same there.
#[test]
fn systemd_reads_them_the_same_way() {
    for expression in [
        "Mon..Fri 22:00",
        "Sat,Sun 01:00",
        "Mon-Wed,Fri 1..5/2:0/20",
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "yearly",
        "annually",
        "*-*-31",
        "*-*~1..3,7 03:00",
        "2026-02~1,2",
        "*-1/3-1",
        "02-29 12:00:00",
        "Mon 02-29",
        "5/7:10..20/5,40",
        "2027..2029/2-6-1..3",
    ] {
        // In UTC: where clocks change, systemd and we differ on purpose.
        let asked = Command::new("systemd-analyze")
            .args([
                "calendar",
                "--iterations=5",
                "--base-time=2026-01-15 12:00:00 UTC",
                expression,
            ])
            .env("TZ", "UTC")
            .output();
        let Ok(asked) = asked else {
            let advice = "systemd-analyze is missing (package systemd)";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{advice}");
            eprintln!("SKIPPED: {advice}");
            return;
        };
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        // `Next elapse: Thu 2026-01-15 22:00:00 UTC`, `Iter. #2: …`
        let theirs: Vec<String> = said
            .lines()
            .filter(|line| line.contains("Next elapse:") || line.contains("Iter."))
            .filter_map(|line| line.split_once(": ")?.1.trim().get(4..20).map(str::to_owned))
            .collect();
        let ours = next(expression, &zone("UTC"), "2026-01-15T12:00", theirs.len());
        assert!(
            !theirs.is_empty() && ours == theirs,
            "{expression}: {ours:?}\n{said}"
        );
    }
}
