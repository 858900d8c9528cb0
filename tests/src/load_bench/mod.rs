//! The load bench: what the API costs with many volumes, long-polls, event streams and queued operations.
//!
//! One real daemon for each number of volumes, all at once, each on a cloud of the tests' own and loop devices. They are asked in
//! turn, round after round, so that what disturbs the machine disturbs all of them; first with nothing else to do, then with the
//! load on all of them, then with events coming as well at the one that is asked. The load's operations are creates that the
//! cloud holds up: as many volumes are there besides.

mod crowd;
mod goals;
mod question;
mod stream;
mod subject;
mod summary;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::footprint::Footprint;
pub use goals::Goal;
use question::Question;
use subject::Subject;

/// How long a daemon is left alone while its processor time is counted: longer than a stream's sign of life takes.
const QUIET: Duration = Duration::from_secs(20);

/// Events that are told while every stream is read, in each round.
const TOLD: u32 = 10;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many volumes there are, one daemon each.
    pub volumes: Vec<u32>,
    /// How many of them are attached, at most.
    pub attached: u32,
    /// How many event streams are open, and as many long-polls.
    pub streams: u32,
    /// How many operations wait.
    pub queued: u32,
    /// How many rounds each condition has.
    pub rounds: u32,
    /// How many events are told while nobody reads.
    pub unread: u32,
    /// The daemon; the one beside this program where nothing is given.
    pub daemon: Option<PathBuf>,
}

/// Under which condition something was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nothing else to do.
    Idle,
    /// Streams and long-polls open, operations queued.
    Loaded,
    /// The same, and events coming.
    Told,
}

/// What one daemon answered to one question under one condition.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// How many volumes it was made with.
    pub volumes: u32,
    /// The condition.
    pub condition: Condition,
    /// The question.
    pub question: Question,
    /// How long each answer took, in milliseconds, round by round.
    pub rounds: Vec<Vec<f64>>,
}

/// What one daemon took from the machine.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// How many volumes it was made with.
    pub volumes: u32,
    /// How many of them are attached, each to a loop device.
    pub attached: u32,
    /// Started, and its volumes attached.
    pub at_rest: Footprint,
    /// With the load, before it was asked anything under it.
    pub loaded: Footprint,
    /// Share of one processor with the load and nothing happening, in per cent.
    pub quiet_cpu_percent: f64,
    /// After everything that was asked under the load.
    pub asked: Footprint,
    /// With no stream read while events came.
    pub unread: Footprint,
    /// Streams that were told each event once and in order, stalled or not.
    pub streams_in_order: u32,
    /// From the request that causes an event to its arrival at the first stream, in milliseconds, each.
    pub first_told_ms: Vec<f64>,
    /// The same to the last stream.
    pub last_told_ms: Vec<f64>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Streams, and as many long-polls.
    pub streams: u32,
    /// Operations that waited.
    pub queued: u32,
    /// Loop devices of the whole machine: every daemon sees all of them.
    pub loop_devices: u32,
    /// Events that nobody read for a while.
    pub unread: u32,
    /// Every answer.
    pub series: Vec<Series>,
    /// By number of volumes.
    pub costs: Vec<Cost>,
    /// What was to be reached, and what was.
    pub goals: Vec<Goal>,
}

/// Measures; `None`, loudly, where this is not root. `tell` hears each step.
///
/// # Errors
/// Where anything does not go as it must.
pub async fn run(plan: &Plan, mut tell: impl FnMut(String)) -> Result<Option<Measured>> {
    crowd::allow_descriptors()?;
    let mut subjects = Vec::new();
    for &volumes in &plan.volumes {
        tell(format!("{volumes} volumes: made, started, attached"));
        let Some(subject) = Subject::make(plan, volumes).await? else {
            return Ok(None);
        };
        subjects.push(subject);
    }
    let mut series = Vec::new();
    let rest = footprints(&subjects)?;
    ask_all(plan, &mut subjects, Condition::Idle, &mut series, &mut tell).await?;

    tell(format!(
        "the load: {} streams, {} long-polls, {} operations, for each",
        plan.streams, plan.streams, plan.queued
    ));
    for subject in &mut subjects {
        subject.load(plan).await?;
    }
    let loaded = footprints(&subjects)?;
    tokio::time::sleep(QUIET).await;
    let quiet = footprints(&subjects)?;
    ask_all(plan, &mut subjects, Condition::Loaded, &mut series, &mut tell).await?;
    ask_all(plan, &mut subjects, Condition::Told, &mut series, &mut tell).await?;
    let asked = footprints(&subjects)?;

    tell("events to every stream, then streams that nobody reads".to_owned());
    let mut costs = Vec::new();
    for (n, subject) in subjects.iter_mut().enumerate() {
        let arrivals = subject.tell_all(plan.rounds * TOLD).await?;
        let (unread, streams_in_order) = subject.stall(plan.unread).await?;
        costs.push(Cost {
            volumes: subject.volumes,
            attached: subject.attached(),
            at_rest: rest[n],
            loaded: loaded[n],
            quiet_cpu_percent: (quiet[n].cpu_s - loaded[n].cpu_s) / QUIET.as_secs_f64() * 100.0,
            asked: asked[n],
            unread,
            streams_in_order,
            first_told_ms: arrivals.iter().map(|one| one.first_ms).collect(),
            last_told_ms: arrivals.iter().map(|one| one.last_ms).collect(),
        });
    }
    let goals = goals::judge(plan, &series, &costs);
    Ok(Some(Measured {
        streams: plan.streams,
        queued: plan.queued,
        loop_devices: costs.iter().map(|cost| cost.attached).sum(),
        unread: plan.unread,
        series,
        costs,
        goals,
    }))
}

fn footprints(subjects: &[Subject]) -> Result<Vec<Footprint>> {
    subjects.iter().map(Subject::footprint).collect()
}

/// Asks every daemon every question, in rounds.
async fn ask_all(
    plan: &Plan,
    subjects: &mut [Subject],
    condition: Condition,
    series: &mut Vec<Series>,
    tell: &mut impl FnMut(String),
) -> Result<()> {
    let begin = series.len();
    for subject in subjects.iter() {
        series.extend(Question::ALL.map(|question| Series {
            volumes: subject.volumes,
            condition,
            question,
            rounds: Vec::new(),
        }));
    }
    for round in 1..=plan.rounds {
        for (n, subject) in subjects.iter_mut().enumerate() {
            let traffic = (condition == Condition::Told).then(|| subject.traffic().steady());
            let of = &mut series[begin + n * Question::ALL.len()..];
            for (one, question) in of.iter_mut().zip(Question::ALL) {
                one.rounds.push(subject.ask(question).await?);
            }
            if let Some(traffic) = traffic {
                traffic.end().await?;
            }
            tell(summary::round(condition, round, &of[..Question::ALL.len()]));
        }
    }
    Ok(())
}
