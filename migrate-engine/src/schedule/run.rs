//! One run of a schedule: when it is due, when it begins, and whether it does.

use jiff::Timestamp;

use super::{InBlackout, Schedule};

/// A run that lies ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When the calendar has it.
    pub due: Timestamp,
    /// When it begins: then, or at the end of the blackout that it is due in. Where it is to be skipped, when that is said.
    pub begins: Timestamp,
    /// Whether it takes place.
    pub fate: Fate,
}

/// Whether a run takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It begins.
    Begin,
    /// It is due in a blackout and does not begin.
    Skip {
        /// When the blackout ends.
        until: Timestamp,
    },
}

impl Schedule {
    /// The first run that is due after an instant, with the present blackouts. What is due until it begins is one with it:
    /// ask again with [`Run::begins`]. Runs that are asked for so begin ever later.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Run> {
        let due = self.calendar.next_after(after, &self.zone)?;
        Some(self.run(due, due))
    }

    /// A run due at `due` that would begin at `earliest`, if no blackout were in the way.
    pub(super) fn run(&self, due: Timestamp, earliest: Timestamp) -> Run {
        let (begins, fate) = match (self.blackouts.until(earliest, &self.zone), self.in_blackout) {
            (None, _) => (earliest, Fate::Begin),
            (Some(until), InBlackout::Defer) => (until, Fate::Begin),
            (Some(until), InBlackout::Skip) => (earliest, Fate::Skip { until }),
        };
        Run { due, begins, fate }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::schedule::testing::{at, berlin, schedule};

    const BLACKOUTS: [&str; 5] = [
        "'Mon..Fri 08:00-18:00'",
        "'22:00-06:00'",
        "'Sat,Sun'",
        "'Sun 01:30-02:45'",
        "'2026-10-20/2026-10-26T02:30'",
    ];

    proptest! {
        #[test]
        fn no_run_begins_in_a_blackout_and_none_is_lost(
            calendar in select(vec!["*:0/20", "hourly", "02:30", "Mon..Fri 12:00", "*-*~1 23:59"]),
            blackouts in subsequence(BLACKOUTS.to_vec(), 0..=5),
            in_blackout in select(vec!["defer", "skip"]),
            hours in 0_i64..24 * 30,
        ) {
            let more = format!("blackouts = [{}]\nin_blackout = '{in_blackout}'", blackouts.join(", "));
            let schedule = schedule("s", calendar, &more);
            let mut settled = at("2026-10-01T00:00") + hours.hours();
            for _ in 0..40 {
                let run = schedule.next_after(settled).unwrap();
                prop_assert!(run.begins > settled && run.due <= run.begins);
                prop_assert_eq!(Some(run.due), schedule.calendar.next_after(settled, &berlin()));
                let until = schedule.blackouts.until(run.begins, &berlin());
                match run.fate {
                    Fate::Begin => prop_assert_eq!(until, None),
                    Fate::Skip { until: said } => prop_assert_eq!((until, run.begins), (Some(said), run.due)),
                }
                // What is due in between lies in the same blackout.
                if let Some(between) = schedule.calendar.next_after(run.due, &berlin()).filter(|at| *at < run.begins) {
                    prop_assert_eq!(schedule.blackouts.until(between, &berlin()), Some(run.begins));
                }
                settled = run.begins;
            }
        }
    }
}
