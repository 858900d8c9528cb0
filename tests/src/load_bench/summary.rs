//! What was measured, for people: side by side, with ratios, and whether the goals were reached.

use std::fmt;

use super::{Condition, Cost, Measured, Question, Series};
use crate::attach_bench::summary::{Percentiles, percentile};
use crate::footprint::Footprint;

/// Every answer, of all rounds.
pub(super) fn whole(series: &Series) -> Vec<f64> {
    series.rounds.concat()
}

fn of(series: &Series) -> Percentiles {
    let all = whole(series);
    Percentiles::of(|share| percentile(&all, share))
}

/// One round of one daemon, in one line: medians.
pub(super) fn round(condition: Condition, round: u32, series: &[Series]) -> String {
    let medians = series.iter().map(|one| {
        let last = one.rounds.last().map_or(0.0, |round| percentile(round, 0.5));
        format!("{} {last:.3}", one.question.name())
    });
    let volumes = series.first().map_or(0, |one| one.volumes);
    let medians: Vec<_> = medians.collect();
    format!(
        "{condition:?}, round {round}, {volumes} volumes, median ms: {}",
        medians.join(", ")
    )
}

/// The median of the largest number of volumes by that of the smallest one that can be compared with it, which comes first.
pub(super) fn ratio(series: &[Series], condition: Condition, question: Question) -> Option<(u32, f64)> {
    let mut comparable: Vec<_> = alike(series, condition, question).collect();
    // An answer that holds a hundred volumes is compared with others that do.
    let is_full =
        |one: &&Series| !question.is_of_many() || condition != Condition::Idle || one.volumes >= 100;
    comparable.retain(is_full);
    let least = comparable.iter().min_by_key(|one| one.volumes)?;
    let most = comparable.iter().max_by_key(|one| one.volumes)?;
    (least.volumes < most.volumes).then(|| (least.volumes, of(most).p50 / of(least).p50))
}

fn alike(series: &[Series], condition: Condition, question: Question) -> impl Iterator<Item = &Series> {
    series
        .iter()
        .filter(move |one| one.condition == condition && one.question == question)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in [Condition::Idle, Condition::Loaded, Condition::Told] {
            self.write_answers(f, condition)?;
        }
        self.write_costs(f)?;
        writeln!(f, "\n{:62} {:>9} {:>9}", "goal", "at most", "was")?;
        for goal in &self.goals {
            let mark = if goal.is_reached() { "" } else { "  NOT REACHED" };
            writeln!(f, "{:62} {:>9.2} {:>9.2}{mark}", goal.what, goal.most, goal.was)?;
        }
        Ok(())
    }
}

impl Measured {
    fn write_answers(&self, f: &mut fmt::Formatter<'_>, condition: Condition) -> fmt::Result {
        let what = match condition {
            Condition::Idle => "idle".to_owned(),
            Condition::Loaded => format!(
                "{} streams, {} long-polls, {} operations (and their volumes)",
                self.streams, self.streams, self.queued
            ),
            Condition::Told => "the same, and 10 events a second".to_owned(),
        };
        writeln!(f, "\n{what}: ms, p50 / p99 / longest")?;
        for question in Question::ALL {
            write!(f, "{:20}", question.name())?;
            for one in alike(&self.series, condition, question) {
                let Percentiles { p50, p99, p100, .. } = of(one);
                write!(f, "  {:>6}: {p50:.3} / {p99:.3} / {p100:.3}", one.volumes)?;
            }
            match ratio(&self.series, condition, question) {
                Some((from, ratio)) => writeln!(f, "  ratio to {from}: {ratio:.2}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }

    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nmemory in MiB, RSS / PSS (descriptors, threads); {} loop devices on the machine",
            self.loop_devices
        )?;
        for Cost {
            volumes,
            attached,
            at_rest,
            loaded,
            asked,
            unread,
            ..
        } in &self.costs
        {
            write!(
                f,
                "{volumes:>6} ({attached} attached)  at rest {}",
                Memory(at_rest)
            )?;
            write!(f, ", loaded {}, asked {}", Memory(loaded), Memory(asked))?;
            writeln!(
                f,
                ", {} events unread {}, peak {:.1}",
                self.unread,
                Memory(unread),
                unread.peak_mib
            )?;
        }
        writeln!(
            f,
            "\nan event, from the request: ms to the first stream p50 / p99, to the last p50 / p99; processor, nothing happening"
        )?;
        for cost in &self.costs {
            let (first, last) = (&cost.first_told_ms, &cost.last_told_ms);
            writeln!(
                f,
                "{:>6}  {:.2} / {:.2}, {:.2} / {:.2}; {:.2} %; {} streams in order",
                cost.volumes,
                percentile(first, 0.5),
                percentile(first, 0.99),
                percentile(last, 0.5),
                percentile(last, 0.99),
                cost.quiet_cpu_percent,
                cost.streams_in_order
            )?;
        }
        Ok(())
    }
}

struct Memory<'a>(&'a Footprint);

impl fmt::Display for Memory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Footprint {
            rss_mib,
            pss_mib,
            descriptors,
            threads,
            ..
        } = self.0;
        write!(f, "{rss_mib:.1} / {pss_mib:.1} ({descriptors}, {threads:.0})")
    }
}
