//! What is to be reached, set down before anything was measured, and what was.

use serde::Serialize;

use super::summary::{ratio, whole};
use super::{Condition, Cost, Plan, Question, Series};
use crate::attach_bench::summary::percentile;

/// How much slower many volumes may be than one.
const MOST_RATIO: f64 = 1.5;
/// A device under load, at the 99th percentile, in milliseconds.
const DEVICE_P99: f64 = 10.0;
/// The same while events come.
const DEVICE_TOLD_P99: f64 = 25.0;
/// Resident memory at any time, in MiB.
const MOST_MEMORY: f64 = 100.0;
/// From a request to its event at the last stream, median, in milliseconds.
const LAST_TOLD: f64 = 50.0;
/// Processor time with all streams open and nothing happening, in per cent of one processor.
const QUIET_CPU: f64 = 2.0;
/// What streams that nobody reads may cost in all, in MiB.
const UNREAD_MEMORY: f64 = 32.0;

/// One goal. Less is better.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What it is about.
    pub what: String,
    /// What it may be at most.
    pub most: f64,
    /// What it was.
    pub was: f64,
}

impl Goal {
    /// Whether it was reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.was <= self.most
    }
}

/// The goals for the largest number of volumes.
pub(super) fn judge(plan: &Plan, series: &[Series], costs: &[Cost]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for condition in [Condition::Idle, Condition::Loaded] {
        for question in Question::ALL {
            let Some((from, was)) = ratio(series, condition, question) else {
                continue;
            };
            let what = format!(
                "{}, {condition:?}: median against {from} volumes",
                question.name()
            );
            goals.push(goal(what, MOST_RATIO, was));
        }
    }
    let largest = plan.volumes.iter().max();
    let device = |condition, most| {
        let one = series.iter().find(|one| {
            Some(&one.volumes) == largest && one.condition == condition && one.question == Question::Device
        })?;
        let what = format!("GET device, {condition:?}: p99 in ms");
        Some(goal(what, most, percentile(&whole(one), 0.99)))
    };
    goals.extend(device(Condition::Loaded, DEVICE_P99));
    goals.extend(device(Condition::Told, DEVICE_TOLD_P99));
    if let Some(cost) = costs.iter().max_by_key(|cost| cost.volumes) {
        let peak = cost.unread.peak_mib;
        goals.push(goal("most resident memory in MiB".to_owned(), MOST_MEMORY, peak));
        let what = "an event at the last stream: median in ms".to_owned();
        goals.push(goal(what, LAST_TOLD, percentile(&cost.last_told_ms, 0.5)));
        let what = "processor with the load and nothing happening, in %".to_owned();
        goals.push(goal(what, QUIET_CPU, cost.quiet_cpu_percent));
        let grown = cost.unread.rss_mib - cost.asked.rss_mib;
        let what = format!("memory for {} unread events, in MiB", plan.unread);
        goals.push(goal(what, UNREAD_MEMORY, grown));
        let lost = plan.streams.saturating_sub(cost.streams_in_order);
        goals.push(goal("streams with a hole".to_owned(), 0.0, f64::from(lost)));
    }
    goals
}

fn goal(what: String, most: f64, was: f64) -> Goal {
    Goal { what, most, was }
}
