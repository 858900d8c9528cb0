//! Whether a machine can be replicated, as it is and by the way that its disks are read. Pure.

use super::super::{Disk, DiskProblem, Machine, SnapshotNode, VsphereError};
use super::PREFIX;
use crate::source::{Category, SourceFailure};

/// How disks are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As files, by the host's web server.
    Files,
    /// By VMware's own library.
    Library,
}

impl Way {
    fn problem(self, disk: &Disk) -> Option<DiskProblem> {
        match self {
            Self::Files => disk.problem_as_file(),
            Self::Library => disk.problem_through_library(),
        }
    }

    /// Whether disks can be read with a snapshot of others below ours.
    fn reads_under(self, node: &SnapshotNode) -> bool {
        self == Self::Library && !node.name.starts_with(PREFIX)
    }
}

/// Whether the disks can be read, each with its size known, and no snapshot of others is in the way of it.
pub(super) fn readable(machine: &Machine, way: Way) -> Result<(), SourceFailure> {
    let disks = machine.copyable_disks()?;
    let problem = |disk: &Disk| Some((disk.label.clone(), way.problem(disk)?));
    if let Some((disk, problem)) = disks.iter().find_map(problem) {
        let error = VsphereError::Disk {
            machine: machine.path.clone(),
            disk,
            problem,
        };
        return Err(error.into());
    }
    only_snapshots(machine, way, |node| node.name.starts_with(PREFIX))
}

/// Whether no other engine replicates the machine: that passes.
pub(super) fn free_of_others(machine: &Machine, owner: &str) -> Result<(), SourceFailure> {
    let all = machine.all_snapshots();
    let is_theirs = |node: &&&SnapshotNode| node.name.starts_with(PREFIX) && node.description != owner;
    match all.iter().find(is_theirs) {
        None => Ok(()),
        Some(theirs) => {
            let why = format!(
                "`{}` is being replicated by {}: wait for it, or remove the snapshot `{}` where that engine is gone",
                machine.path, theirs.description, theirs.name
            );
            Err(SourceFailure::new(Category::Other, why))
        }
    }
}

/// What is written under a snapshot that is none of `ours` does not lie in the files that we can read; VMware's library reads it.
pub(super) fn only_snapshots(
    machine: &Machine,
    way: Way,
    ours: impl Fn(&SnapshotNode) -> bool,
) -> Result<(), SourceFailure> {
    let all = machine.all_snapshots();
    let strangers: Vec<String> = all
        .iter()
        .filter(|node| !ours(node) && !way.reads_under(node))
        .map(|node| node.name.clone())
        .collect();
    if !strangers.is_empty() {
        let (machine, names) = (machine.path.clone(), strangers);
        let error = match way {
            Way::Files => VsphereError::SnapshotsOfOthers { machine, names },
            Way::Library => VsphereError::SnapshotsInTheWay { machine, names },
        };
        return Err(error.into());
    }
    // Between a snapshot of ours and its removal, a consolidation may be due: that is ours to wait for.
    let is_under_way = all.iter().any(|node| node.name.starts_with(PREFIX));
    if machine.needs_consolidation && !is_under_way {
        let why = format!(
            "the disks of `{}` need consolidation: do that in the vCenter first",
            machine.path
        );
        return Err(SourceFailure::new(Category::Refused, why));
    }
    Ok(())
}
