//! What to do next with an operation: a pure function of its steps, its journal and whether it is being undone.
//!
//! Normal running and recovery ask the same question here. A step whose start is recorded but whose end is not *may have
//! run*: the world is asked before it is run again.

use crate::model::{JournalLine, StepState};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Record the start of this step, then run it: it was never started.
    Run(usize),
    /// This step may have run: ask the world, and run it only if its effect is not there.
    Verify(usize),
    /// Undo this step.
    Undo(usize),
    /// Nothing is left: record the end.
    Finish,
}

/// Which way an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Towards what was asked.
    Forward,
    /// Back to where it began.
    Back,
}

/// What to do next with an operation of these steps.
pub(super) fn next(steps: &[&str], journal: &[JournalLine], direction: Direction) -> Next {
    let state = |step: &str| {
        journal
            .iter()
            .rev()
            .find(|line| line.step == step)
            .map(|line| line.state)
    };
    match direction {
        Direction::Forward => {
            let open = steps.iter().position(|step| state(step) != Some(StepState::Done));
            match open {
                None => Next::Finish,
                Some(i) if state(steps[i]).is_none() => Next::Run(i),
                Some(i) => Next::Verify(i),
            }
        }
        Direction::Back => {
            // A step that failed may have had its effect all the same, or a part of it: its undo asks the world.
            let standing = |step: &&str| !matches!(state(step), None | Some(StepState::Undone));
            steps.iter().rposition(standing).map_or(Next::Finish, Next::Undo)
        }
    }
}

/// Whether this step was ever started.
pub(super) fn was_started(step: &str, journal: &[JournalLine]) -> bool {
    journal.iter().any(|line| line.step == step)
}

/// Whether this step's effect was seen to be there.
pub(super) fn was_done(step: &str, journal: &[JournalLine]) -> bool {
    journal
        .iter()
        .any(|line| line.step == step && line.state == StepState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use StepState::{Done, Failed, Started, Undoing, Undone};

    const STEPS: &[&str] = &["reserve", "call", "bind"];

    fn journal(lines: &[(&str, StepState)]) -> Vec<JournalLine> {
        lines
            .iter()
            .map(|&(step, state)| JournalLine {
                step: step.into(),
                state,
            })
            .collect()
    }

    #[test]
    fn forward_runs_what_was_never_started_and_asks_about_what_may_have_run() {
        let forward = |lines: &[_]| next(STEPS, &journal(lines), Direction::Forward);
        assert_eq!(forward(&[]), Next::Run(0));
        assert_eq!(forward(&[("reserve", Started)]), Next::Verify(0));
        assert_eq!(forward(&[("reserve", Started), ("reserve", Done)]), Next::Run(1));
        assert_eq!(
            forward(&[("reserve", Done), ("call", Done), ("bind", Done)]),
            Next::Finish
        );
    }

    #[test]
    fn back_undoes_the_latest_standing_step_first_and_each_once() {
        let back = |lines: &[_]| next(STEPS, &journal(lines), Direction::Back);
        assert_eq!(back(&[]), Next::Finish);
        assert_eq!(back(&[("reserve", Done), ("call", Started)]), Next::Undo(1));
        assert_eq!(
            back(&[("reserve", Done), ("call", Started), ("call", Failed)]),
            Next::Undo(1)
        );
        assert_eq!(
            back(&[("reserve", Done), ("call", Done), ("call", Undoing)]),
            Next::Undo(1)
        );
        assert_eq!(
            back(&[("reserve", Done), ("call", Done), ("call", Undone)]),
            Next::Undo(0)
        );
        assert_eq!(back(&[("reserve", Undone), ("call", Undone)]), Next::Finish);
    }

    /// Every prefix of a run, cut by a crash anywhere, leads to the end in both directions.
    #[test]
    fn from_every_crash_point_both_ways_end() {
        let whole: Vec<_> = STEPS.iter().flat_map(|&s| [(s, Started), (s, Done)]).collect();
        for cut in 0..=whole.len() {
            for direction in [Direction::Forward, Direction::Back] {
                let mut lines = journal(&whole[..cut]);
                let mut turns = 0;
                loop {
                    turns += 1;
                    assert!(turns < 20, "{direction:?} from {cut} does not end");
                    let (i, state) = match next(STEPS, &lines, direction) {
                        Next::Run(i) | Next::Verify(i) => (i, Done),
                        Next::Undo(i) => (i, Undone),
                        Next::Finish => break,
                    };
                    lines.push(JournalLine {
                        step: STEPS[i].into(),
                        state,
                    });
                }
            }
        }
    }
}
