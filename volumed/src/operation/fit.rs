//! Whether a journal is one that its operation's table of steps can have written: for those who examine a database.

use super::steps;
use crate::model::{JournalLine, OperationKind, StepState};

/// Why the lines cannot be of an operation of this kind: a clause. `None` where they can.
#[must_use]
pub fn misfit(kind: OperationKind, lines: &[JournalLine]) -> Option<String> {
    let names: Vec<&str> = steps::of(kind).iter().map(|step| step.name()).collect();
    lines.iter().enumerate().find_map(|(at, line)| {
        let before = &lines[..at];
        let Some(place) = names.iter().position(|name| *name == line.step) else {
            return Some(format!("`{}` is no step of it", line.step));
        };
        let was = |step: &str, state: StepState| before.iter().any(|l| l.step == step && l.state == state);
        let latest = before.iter().rfind(|l| l.step == line.step).map(|l| l.state);
        match line.state {
            StepState::Started if latest.is_none() => {
                let skipped = names[..place].iter().find(|step| !was(step, StepState::Done))?;
                Some(format!("`{}` was started before `{skipped}` was done", line.step))
            }
            StepState::Started => None,
            StepState::Done | StepState::Failed => (latest != Some(StepState::Started))
                .then(|| format!("`{}` is {} without having been started", line.step, line.state)),
            StepState::Undoing => latest
                .is_none()
                .then(|| format!("`{}` is undone without having been started", line.step)),
            StepState::Undone => (latest != Some(StepState::Undoing))
                .then(|| format!("`{}` is undone without a line that says so before", line.step)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<JournalLine> {
        text.split_whitespace()
            .map(|word| {
                let (step, state) = word.split_once(':').unwrap();
                JournalLine {
                    step: step.to_owned(),
                    state: state.parse().unwrap(),
                }
            })
            .collect()
    }

    #[test]
    fn a_journal_of_the_executors_fits() {
        for text in [
            "",
            "reserve:started",
            "reserve:started reserve:done cloud_create:started cloud_create:done record:started",
            "reserve:started reserve:done cloud_create:started cloud_create:failed cloud_create:undoing cloud_create:undone",
        ] {
            assert_eq!(misfit(OperationKind::Create, &lines(text)), None, "{text}");
        }
        let rebooted = "reserve:started reserve:done cloud_attach:started cloud_attach:done await_device:started \
                        await_device:done bind:started bind:done await_device:started bind:started";
        assert_eq!(misfit(OperationKind::Attach, &lines(rebooted)), None);
    }

    #[test]
    fn a_journal_that_nobody_wrote_does_not() {
        for text in [
            "record:started",
            "reserve:done",
            "reserve:started cloud_create:started",
            "reserve:started reserve:done melt:started",
            "cloud_create:undoing",
            "reserve:started reserve:undone",
        ] {
            assert!(misfit(OperationKind::Create, &lines(text)).is_some(), "{text}");
        }
    }
}
