//! The table of steps of every kind of operation.

mod adopt;
mod appearance;
mod attach;
mod attached;
mod await_device;
mod correlate;
mod create;
mod delete;
mod detach;
mod phantom;
mod resize;
mod snapshot;

use super::step::Step;
use crate::model::OperationKind;

/// The steps of an operation, in the order in which they are done.
pub(super) fn of(kind: OperationKind) -> &'static [&'static dyn Step] {
    match kind {
        OperationKind::Create => &[&create::Reserve, &create::CloudCreate, &create::Record],
        OperationKind::Attach => &[
            &attach::Reserve,
            &attach::CloudAttach,
            &await_device::AwaitDevice,
            &attach::Bind,
        ],
        OperationKind::Correlate => &[
            &correlate::StillAttached,
            &await_device::AwaitDevice,
            &attach::Bind,
        ],
        OperationKind::Detach => &[
            &detach::Reserve,
            &detach::Quiesce,
            &detach::CloudDetach,
            &detach::Release,
            &detach::AwaitGone,
            &detach::Finish,
        ],
        OperationKind::Delete => &[&delete::Reserve, &delete::CloudDelete, &delete::Record],
        OperationKind::Resize => &[
            &resize::Reserve,
            &resize::CloudResize,
            &resize::AwaitSize,
            &resize::Record,
        ],
        OperationKind::SnapshotCreate => &[
            &snapshot::Reserve,
            &snapshot::Flush,
            &snapshot::CloudTake,
            &snapshot::RecordTaken,
        ],
        OperationKind::SnapshotRevert => &[&snapshot::CloudRevert, &snapshot::RecordReverted],
        OperationKind::SnapshotDelete => &[
            &snapshot::MarkDeleting,
            &snapshot::CloudDelete,
            &snapshot::RecordDeleted,
        ],
        OperationKind::Adopt => adopt::STEPS,
    }
}

/// The names of an operation's steps, in their order, as its journal has them.
#[must_use]
pub fn step_names(kind: OperationKind) -> Vec<&'static str> {
    of(kind).iter().map(|step| step.name()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_steps_of_an_operation_share_a_name() {
        for &kind in OperationKind::ALL {
            let names: Vec<_> = of(kind).iter().map(|step| step.name()).collect();
            assert_eq!(
                names.iter().collect::<HashSet<_>>().len(),
                names.len(),
                "{kind}: {names:?}"
            );
            assert!(!names.is_empty());
        }
    }
}
