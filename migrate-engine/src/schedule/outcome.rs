//! What became of runs, as it is recorded and told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Selection;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[schema(as = RunOutcome)]
pub enum Outcome {
    /// Each machine of each selection was started, or could not be.
    Begun {
        /// The selections, in their order.
        selections: Vec<Begun>,
    },
    /// It was due in a blackout, and is to be skipped there.
    SkippedInBlackout {
        /// When the blackout ends.
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
    },
    /// An earlier run of the schedule was still being started.
    SkippedWhileStarting {
        /// When that one had to begin.
        #[schema(value_type = String, format = DateTime)]
        earlier: Timestamp,
    },
}

/// What became of one selection of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BegunSelection)]
pub struct Begun {
    /// Which virtual machines.
    pub selection: Selection,
    /// What became of each, in the selection's order.
    pub vms: Vec<VmStart>,
}

/// What became of one machine of a selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VmStart {
    /// The machine, as the selection names it.
    pub vm: String,
    /// What became of it.
    #[serde(flatten)]
    pub fate: VmFate,
}

/// Whether a machine's job was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "start", rename_all = "snake_case")]
pub enum VmFate {
    /// It was.
    Started {
        /// The job.
        job: String,
    },
    /// It was not: an earlier job of the machine is still under way.
    Busy {
        /// That job.
        job: String,
    },
    /// It was not.
    Refused {
        /// Why, for a person.
        why: String,
    },
}

/// Runs that did not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MissedRuns)]
pub struct Missed {
    /// When the first of them had to begin.
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// When the last of them had to begin.
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
    /// How many; 10 000 stands for that many or more, and `last` is then the last that was counted.
    pub runs: u32,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "begun",
            Self::SkippedInBlackout { .. } => "skipped_in_blackout",
            Self::SkippedWhileStarting { .. } => "skipped_while_starting",
        }
    }
}

impl Begun {
    /// The same for each machine of a selection.
    pub(super) fn all(selection: &Selection, fate: &VmFate) -> Self {
        let vms = selection.vms.iter().map(|vm| VmStart {
            vm: vm.clone(),
            fate: fate.clone(),
        });
        Self {
            vms: vms.collect(),
            selection: selection.clone(),
        }
    }
}

impl Missed {
    /// `missed` and a later run.
    pub(super) fn and(missed: Option<Self>, run: Timestamp) -> Self {
        match missed {
            None => Self {
                first: run,
                last: run,
                runs: 1,
            },
            Some(missed) => Self {
                last: run,
                runs: missed.runs + 1,
                ..missed
            },
        }
    }
}
