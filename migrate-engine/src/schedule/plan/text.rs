//! The form of a plan's file, before its values are judged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Plan, PlanError, Problem, Schedule};
use crate::schedule::{Bandwidth, BandwidthWindow, Blackouts, InBlackout, Selection};

/// How long a name may be; it is shown in tables.
const LONGEST_NAME: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanText {
    #[serde(default)]
    schedule: Vec<ScheduleText>,
    bandwidth: Option<BandwidthText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleText {
    name: String,
    calendar: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blackouts: Vec<String>,
    #[serde(default)]
    in_blackout: InBlackout,
    what: Vec<Selection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BandwidthText {
    zone: Option<String>,
    default: Option<String>,
    #[serde(default)]
    windows: Vec<WindowText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowText {
    when: String,
    rate: String,
}

/// Collects what is wrong.
#[derive(Default)]
struct Judge {
    problems: Vec<Problem>,
}

impl Judge {
    fn object(&mut self, key: String, problem: impl fmt::Display) {
        self.problems.push(Problem::new(key, problem));
    }

    fn accept<T, E: fmt::Display>(&mut self, key: String, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.object(key, error)).ok()
    }

    fn read<T: FromStr<Err: fmt::Display>>(&mut self, key: String, text: &str) -> Option<T> {
        self.accept(key, text.parse())
    }

    /// What stands there, or the default where nothing does.
    fn optional<T>(&mut self, key: String, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err: fmt::Display> + Default,
    {
        text.map_or_else(|| Some(T::default()), |text| self.read(key, text))
    }

    /// Whatever was read, if nothing is wrong.
    fn verdict<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }
}

impl PlanText {
    pub(super) fn read(self) -> Result<Plan, Vec<Problem>> {
        let (mut judge, mut plan) = (Judge::default(), Plan::default());
        for (nth, text) in self.schedule.iter().enumerate() {
            let key = key_of(&text.name, nth);
            if self.schedule[..nth].iter().any(|other| other.name == text.name) {
                judge.object(
                    format!("{key}.name"),
                    "another schedule has this name; give each its own",
                );
            }
            plan.schedules.extend(text.read(&key, &mut judge));
        }
        plan.bandwidth = self.bandwidth.and_then(|text| text.read(&mut judge));
        judge.verdict(Some(plan))
    }
}

/// `schedule.nightly`, or its number where it has no name.
fn key_of(name: &str, nth: usize) -> String {
    match name_problem(name) {
        None => format!("schedule.{name}"),
        Some(_) => format!("schedule[{nth}]"),
    }
}

fn name_problem(name: &str) -> Option<String> {
    let fits = name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
    (name.trim().is_empty() || !fits)
        .then(|| format!("write a name of 1 to {LONGEST_NAME} characters on one line"))
}

impl ScheduleText {
    fn read(&self, key: &str, judge: &mut Judge) -> Option<Schedule> {
        if let Some(problem) = name_problem(&self.name) {
            judge.object(format!("{key}.name"), problem);
        }
        if self.what.is_empty() {
            judge.object(
                format!("{key}.what"),
                "is empty; write which virtual machines are meant",
            );
        }
        for (nth, selection) in self.what.iter().enumerate() {
            for (inner, problem) in selection.problems() {
                judge.object(format!("{key}.what[{nth}].{inner}"), problem);
            }
        }
        let calendar = judge.read(format!("{key}.calendar"), &self.calendar);
        let zone = judge.optional(format!("{key}.zone"), self.zone.as_deref());
        let blackouts = self.read_blackouts(key, judge);
        Some(Schedule {
            name: self.name.clone(),
            calendar: calendar?,
            zone: zone?,
            blackouts: blackouts?,
            in_blackout: self.in_blackout,
            what: self.what.clone(),
        })
    }

    fn read_blackouts(&self, key: &str, judge: &mut Judge) -> Option<Blackouts> {
        let texts = self.blackouts.iter().enumerate();
        let read = texts
            .filter_map(|(nth, text)| judge.read(format!("{key}.blackouts[{nth}]"), text))
            .collect();
        judge.accept(format!("{key}.blackouts"), Blackouts::new(read))
    }
}

impl BandwidthText {
    fn read(&self, judge: &mut Judge) -> Option<Bandwidth> {
        let zone = judge.optional("bandwidth.zone".to_owned(), self.zone.as_deref());
        let default = judge.optional("bandwidth.default".to_owned(), self.default.as_deref());
        let mut windows = Vec::new();
        for (nth, text) in self.windows.iter().enumerate() {
            let when = judge.read(format!("bandwidth.windows[{nth}].when"), &text.when);
            let rate = judge.read(format!("bandwidth.windows[{nth}].rate"), &text.rate);
            windows.extend(when.zip(rate).map(|(when, rate)| BandwidthWindow { when, rate }));
        }
        Some(Bandwidth {
            zone: zone?,
            default: default?,
            windows,
        })
    }
}

impl TryFrom<ScheduleText> for Schedule {
    type Error = PlanError;

    fn try_from(text: ScheduleText) -> Result<Self, Self::Error> {
        let mut judge = Judge::default();
        let schedule = text.read(&key_of(&text.name, 0), &mut judge);
        judge.verdict(schedule).map_err(PlanError::Problems)
    }
}

impl From<Schedule> for ScheduleText {
    fn from(schedule: Schedule) -> Self {
        Self {
            calendar: schedule.calendar.to_string(),
            zone: schedule.zone.name().map(str::to_owned),
            blackouts: schedule.blackouts.iter().map(ToString::to_string).collect(),
            name: schedule.name,
            in_blackout: schedule.in_blackout,
            what: schedule.what,
        }
    }
}
