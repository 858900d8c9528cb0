//! What is due, missed and deferred, by the time that is given.

use super::*;
use crate::schedule::testing::{at, berlin, schedule};

const OFFICE: &str = "blackouts = ['Mon..Fri 08:00-18:00']";

fn open(schedule: Schedule, last_run: Option<&str>, now: &str) -> (Agenda, Vec<Event>) {
    let (agenda, turns) = Agenda::open(vec![(schedule, last_run.map(at))], at(now));
    (agenda, events(turns))
}

fn events(turns: Vec<Turn>) -> Vec<Event> {
    turns.into_iter().map(|turn| turn.event).collect()
}

fn due(due: &str, begins: &str) -> Event {
    Event::Due(Run {
        due: at(due),
        begins: at(begins),
        fate: Fate::Begin,
    })
}

fn missed(first: &str, last: &str, runs: u32) -> Event {
    Event::Missed(Missed {
        first: at(first),
        last: at(last),
        runs,
    })
}

fn next(agenda: &Agenda) -> String {
    berlin().civil(agenda.next().unwrap()).to_string()
}

#[test]
fn what_was_due_while_nobody_was_there_is_missed_and_not_begun() {
    let nightly = schedule("nightly", "02:30", "");
    let (mut agenda, events) = open(nightly, Some("2026-11-26T02:30"), "2026-11-30T02:30:01");
    assert_eq!(events, [missed("2026-11-27T02:30", "2026-11-30T02:30", 4)]);
    assert_eq!(agenda.advance(at("2026-11-30T02:30:02")), []);
    assert_eq!(next(&agenda), "2026-12-01T02:30:00");
}

#[test]
fn a_schedule_that_never_ran_has_missed_nothing() {
    let (agenda, events) = open(schedule("nightly", "02:30", ""), None, "2026-11-30T03:00");
    assert_eq!(
        (events, next(&agenda)),
        (vec![], "2026-12-01T02:30:00".to_owned())
    );
}

#[test]
fn a_run_is_due_once_and_a_late_one_is_missed() {
    let quarter = || open(schedule("q", "*:0/15", ""), None, "2026-11-30T03:00").0;
    let mut agenda = quarter();
    assert_eq!(events(agenda.advance(at("2026-11-30T03:14:59"))), []);
    assert_eq!(
        events(agenda.advance(at("2026-11-30T03:15:40"))),
        [due("2026-11-30T03:15", "2026-11-30T03:15")]
    );
    assert_eq!(events(agenda.advance(at("2026-11-30T03:15:41"))), []);

    // The machine slept for an hour; what is due just now still begins.
    assert_eq!(
        events(agenda.advance(at("2026-11-30T04:17"))),
        [
            missed("2026-11-30T03:30", "2026-11-30T04:00", 3),
            due("2026-11-30T04:15", "2026-11-30T04:15")
        ]
    );
    assert_eq!(
        events(quarter().advance(at("2026-11-30T03:20:01"))),
        [missed("2026-11-30T03:15", "2026-11-30T03:15", 1)]
    );
}

#[test]
fn counting_what_was_missed_comes_to_an_end() {
    let (mut agenda, events) = open(
        schedule("m", "minutely", ""),
        Some("2020-01-01T00:00"),
        "2026-11-30T03:00",
    );
    assert!(
        matches!(&events[..], [Event::Missed(missed)] if missed.runs == MOST_LOOKED_AT),
        "{events:?}"
    );
    assert_eq!(agenda.advance(at("2026-11-30T03:00:30")), []);
    assert_eq!(next(&agenda), "2026-11-30T03:01:00");
}

#[test]
fn runs_that_are_due_in_a_blackout_are_one_run_at_its_end() {
    let (mut agenda, _) = open(schedule("h", "hourly", OFFICE), None, "2026-11-30T07:30");
    assert_eq!(next(&agenda), "2026-11-30T18:00:00");
    assert_eq!(events(agenda.advance(at("2026-11-30T12:00"))), []);
    assert_eq!(
        events(agenda.advance(at("2026-11-30T18:00"))),
        [due("2026-11-30T08:00", "2026-11-30T18:00")]
    );
    assert_eq!(next(&agenda), "2026-11-30T19:00:00");
}

#[test]
fn a_deferred_run_outlives_the_process() {
    let hourly = schedule("h", "hourly", OFFICE);
    let (mut agenda, said) = open(hourly, Some("2026-11-30T07:00"), "2026-11-30T12:00");
    assert_eq!(said, []);
    assert_eq!(
        events(agenda.advance(at("2026-11-30T18:00"))),
        [due("2026-11-30T08:00", "2026-11-30T18:00")]
    );
}

#[test]
fn a_run_that_is_to_be_skipped_is_said_when_it_is_due_and_never_missed() {
    let skip = schedule("h", "hourly", &format!("{OFFICE}\nin_blackout = 'skip'"));
    let (mut agenda, _) = open(skip.clone(), None, "2026-11-30T07:30");
    let skipped = Run {
        due: at("2026-11-30T08:00"),
        begins: at("2026-11-30T08:00"),
        fate: Fate::Skip {
            until: at("2026-11-30T18:00"),
        },
    };
    assert_eq!(
        events(agenda.advance(at("2026-11-30T08:00"))),
        [Event::Due(skipped)]
    );
    let (_, said) = open(skip, Some("2026-11-30T07:00"), "2026-11-30T17:30");
    assert_eq!(said, []);
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_unless_it_was_far_off() {
    let (mut agenda, _) = open(schedule("q", "*:0/15", ""), None, "2026-11-30T03:00");
    agenda.advance(at("2026-11-30T03:15"));
    assert_eq!(agenda.advance(at("2026-11-30T02:30")), []);
    assert_eq!(agenda.advance(at("2026-11-30T03:15")), []);
    assert_eq!(next(&agenda), "2026-11-30T03:30:00");

    let (mut agenda, said) = open(
        schedule("q", "*:0/15", ""),
        Some("2027-11-30T03:00"),
        "2026-11-30T03:01",
    );
    assert_eq!(
        said,
        [Event::SetBack {
            from: at("2027-11-30T03:00")
        }]
    );
    assert_eq!(next(&agenda), "2026-11-30T03:15:00");
    assert_eq!(agenda.advance(at("2026-11-30T03:02")), []);
}

#[test]
fn a_new_blackout_moves_a_run_that_waits_and_does_not_lose_it() {
    let daily = |more: &str| schedule("d", "09:00", more);
    let waiting = || open(daily(OFFICE), None, "2026-11-30T08:30").0;
    let noon = at("2026-11-30T12:00");

    let mut longer = waiting();
    assert_eq!(
        longer.replace(vec![daily("blackouts = ['08:00-20:00']")], noon),
        []
    );
    assert_eq!(next(&longer), "2026-11-30T20:00:00");

    let mut lifted = waiting();
    assert_eq!(lifted.replace(vec![daily("")], noon), []);
    assert_eq!(
        events(lifted.advance(noon)),
        [due("2026-11-30T09:00", "2026-11-30T12:00")]
    );
    assert_eq!(next(&lifted), "2026-12-01T09:00:00");

    let mut same = waiting();
    assert_eq!(same.replace(vec![daily(OFFICE)], noon), []);
    assert_eq!(next(&same), "2026-11-30T18:00:00");
}

#[test]
fn a_run_that_waits_and_loses_its_calendar_or_schedule_is_said() {
    let waiting = || open(schedule("d", "09:00", OFFICE), None, "2026-11-30T08:30").0;
    let noon = at("2026-11-30T12:00");
    let dropped = |turns: Vec<Turn>| {
        let events = events(turns);
        assert!(
            matches!(&events[..], [Event::Dropped(run)] if run.due == at("2026-11-30T09:00")),
            "{events:?}"
        );
    };
    dropped(waiting().replace(vec![schedule("d", "10:00", OFFICE)], noon));
    dropped(waiting().replace(vec![schedule("other", "09:00", OFFICE)], noon));
}

#[test]
fn another_calendar_begins_with_the_present() {
    let (mut agenda, _) = open(schedule("d", "13:00", ""), None, "2026-11-30T08:30");
    let noon = at("2026-11-30T12:00");
    assert_eq!(
        agenda.replace(vec![schedule("d", "11:58", ""), schedule("e", "11:59", "")], noon),
        []
    );
    assert_eq!(agenda.advance(noon), []);
    assert_eq!(next(&agenda), "2026-12-01T11:58:00");
}
