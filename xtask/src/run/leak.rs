//! What a run left behind: the difference between two snapshots, as a pure function.

use std::collections::BTreeMap;
use std::path::Path;

use super::proc::Process;
use super::snapshot::{Mount, Snapshot};

/// One thing that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leak {
    /// For the reader.
    pub(crate) what: String,
    /// It carries the run's mark or lies in the run's directory. Without proof it may be somebody else's.
    pub(crate) is_ours: bool,
}

/// Everything in `after` that was not in `before`.
pub(super) fn between(before: &Snapshot, after: &Snapshot, run_dir: &Path) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for (node, backing) in &after.loops {
        if before.loops.get(node) != Some(backing) {
            let what = format!("loop device {node} on {backing}");
            leaks.push(Leak {
                what,
                is_ours: loop_is_ours(node, &after.loops, run_dir),
            });
        }
    }
    for process in after
        .processes
        .iter()
        .filter(|process| !was_there(process, before))
    {
        let what = format!(
            "process {} ({}): {}",
            process.pid, process.name, process.arguments
        );
        leaks.push(Leak {
            what,
            is_ours: process_is_ours(process, run_dir),
        });
    }
    for mount in after.mounts.difference(&before.mounts) {
        let what = format!("mount of {} on {}", mount.source, mount.point);
        leaks.push(Leak {
            what,
            is_ours: mount_is_ours(mount, &after.loops, run_dir),
        });
    }
    for file in after.files.difference(&before.files) {
        leaks.push(Leak {
            what: format!("file {}", file.display()),
            is_ours: file.starts_with(run_dir),
        });
    }
    leaks
}

/// Whether a loop device stands on a file of the run, directly or on another loop device that does.
pub(super) fn loop_is_ours(node: &str, loops: &BTreeMap<String, String>, run_dir: &Path) -> bool {
    let mut node = node;
    // Each step goes down one layer, and there are no more layers than devices.
    for _ in 0..=loops.len() {
        let Some(backing) = loops.get(node) else {
            return false;
        };
        if Path::new(backing).starts_with(run_dir) {
            return true;
        }
        node = backing;
    }
    false
}

/// Whether a mount is in the run's directory, or of a device of the run.
pub(super) fn mount_is_ours(mount: &Mount, loops: &BTreeMap<String, String>, run_dir: &Path) -> bool {
    Path::new(&mount.point).starts_with(run_dir) || loop_is_ours(&mount.source, loops, run_dir)
}

/// Whether a process carries the run's mark, or names its directory.
pub(super) fn process_is_ours(process: &Process, run_dir: &Path) -> bool {
    let marked = process
        .run
        .as_deref()
        .is_some_and(|run| Path::new(run) == run_dir);
    // A program may have been started with an empty environment; its sockets and files still lie in the directory.
    marked || process.arguments.contains(&format!("{}/", run_dir.display()))
}

/// Whether the process is not new, or is a worker of one that is not: a system's own udevd makes those all the time.
fn was_there(process: &Process, before: &Snapshot) -> bool {
    before.processes.iter().any(|old| {
        (old.pid == process.pid && old.started == process.started)
            || (old.pid == process.parent && process.run.is_none())
    })
}
