//! Plans as operators write them, right and wrong.

use super::*;
use crate::schedule::{ReplicationType, testing};

/// The page that operators read.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scheduling.md"));

/// The page's blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(begin.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_example_of_the_page_is_a_plan() {
    let examples = blocks("toml");
    assert_eq!(examples.len(), 1);
    let plan = Plan::from_toml(examples[0]).unwrap();
    let nightly = &plan.schedules[0];
    assert_eq!(nightly.name, "nightly");
    assert_eq!(nightly.calendar.to_string(), "Mon..Fri 22:00");
    assert_eq!(nightly.zone, testing::berlin());
    assert_eq!(nightly.blackouts.iter().count(), 2);
    assert_eq!(nightly.in_blackout, InBlackout::Defer);
    assert_eq!(nightly.what[0].vcenter_host, "vcenter.example.org");
    assert_eq!(
        nightly.what[1].replication_type,
        Some(ReplicationType::Incremental)
    );
    assert_eq!(plan.schedules[1].in_blackout, InBlackout::Skip);
    assert_eq!(plan.bandwidth.unwrap().windows.len(), 2);
}

#[test]
fn every_expression_of_the_page_is_one() {
    let expressions: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(text, _)| text))
        .collect();
    assert!(expressions.len() > 10, "{expressions:?}");
    for text in expressions {
        assert!(text.parse::<Calendar>().is_ok(), "{text}");
    }
}

#[test]
fn every_problem_is_said_at_once_and_with_its_key() {
    let error = Plan::from_toml(
        "[[schedule]]
        name = 'nightly'
        calendar = 'Mon..Fri 25:00'
        zone = 'Europe/Belrin'
        blackouts = ['Mon 08:00-18:00', 'Mon 8-18']
        what = [{ vcenter_host = 'vc', vms = ['a', 'a', ' '] }, { vcenter_host = '', vms = [], datacenter = '' }]
        [[schedule]]
        name = ''
        calendar = '02-30'
        blackouts = ['00:00-24:00']
        what = []
        [[schedule]]
        name = 'nightly'
        calendar = '30 2 * * 1-5'
        what = [{ vcenter_host = 'vc', vms = ['a'] }]
        [bandwidth]
        zone = 'Mars'
        default = 'fast'
        windows = [{ when = 'Mon', rate = '0' }]",
    )
    .unwrap_err();
    let PlanError::Problems(problems) = &error else {
        panic!("{error}")
    };
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "schedule.nightly.what[0].vms",
            "schedule.nightly.what[0].vms",
            "schedule.nightly.what[1].vcenter_host",
            "schedule.nightly.what[1].vms",
            "schedule.nightly.what[1].datacenter",
            "schedule.nightly.calendar",
            "schedule.nightly.zone",
            "schedule.nightly.blackouts[1]",
            "schedule[1].name",
            "schedule[1].what",
            "schedule[1].calendar",
            "schedule[1].blackouts",
            "schedule.nightly.name",
            "schedule.nightly.calendar",
            "bandwidth.zone",
            "bandwidth.default",
            "bandwidth.windows[0].rate",
        ]
    );
    let said = error.to_string();
    let line = "schedule.nightly.calendar: `25` is not understood: write a number from 0 to 23";
    assert!(said.lines().any(|said| said.starts_with(line)), "{said}");
}

#[test]
fn a_wrong_form_is_refused_and_its_place_is_said() {
    for (text, said) in [
        (
            "[[schedule]]\nname = 'x'\ncalender = 'daily'\nwhat = []",
            "calender",
        ),
        ("[[schedule]]\nname = 'x'\nwhat = []", "calendar"),
        (
            "[[schedule]]\nname = 'x'\ncalendar = 'daily'\nwhat = []\nin_blackout = 'wait'",
            "wait",
        ),
        ("[[schedules]]\nname = 'x'", "schedules"),
        ("[bandwidth]\ndefault = 5", "line 2"),
        ("schedule = 1", "line 1"),
        ("[[schedule", "line 1"),
    ] {
        let error = Plan::from_toml(text).unwrap_err();
        assert!(matches!(error, PlanError::Syntax(_)), "{text}");
        assert!(error.to_string().contains(said), "{text}: {error}");
    }
}

#[test]
fn nothing_planned_is_a_plan() {
    assert_eq!(Plan::from_toml("").unwrap(), Plan::default());
}

#[test]
fn a_schedule_is_read_back_as_it_was_written() {
    let schedule = testing::schedule(
        "nightly",
        " Mon..Fri  22:00 ",
        "blackouts = ['Sat,Sun', '2026-12-24/2027-01-02T06:00']\nin_blackout = 'skip'",
    );
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    let refused = json.replace("Sat,Sun", "Sat,Moon");
    let error = serde_json::from_str::<Schedule>(&refused)
        .unwrap_err()
        .to_string();
    assert!(error.contains("schedule.nightly.blackouts[0]: `Moon`"), "{error}");
}
