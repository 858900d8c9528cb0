//! What the machine has at one moment of the things a run could leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::proc::{self, Process};

/// Daemons and servers that our tests start, as the kernel names them.
const WATCHED_PROCESSES: [&str; 8] = [
    "volumed",
    "migrate-engine",
    "nbd-server",
    "qemu-nbd",
    "qemu-storage-daemon",
    "nbdkit",
    "systemd-udevd",
    "qemu-system-x86_64",
];

/// The kernel keeps this much of a process's name.
const NAME_LENGTH: usize = 15;

/// Folders outside the run's own where our programs keep files by default.
const WATCHED_DIRS: [&str; 7] = [
    "/run/volumed",
    "/run/migrate-engine",
    "/var/lib/volumed",
    "/var/lib/migrate-engine",
    "/etc/nbd-server",
    "/etc/nbd-server/conf.d",
    "/dev/shm",
];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Mount {
    pub(super) point: String,
    pub(super) source: String,
}

/// The state that two moments are compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Loop device node to backing file, as the kernel tells it.
    pub(super) loops: BTreeMap<String, String>,
    pub(super) processes: Vec<Process>,
    pub(super) mounts: BTreeSet<Mount>,
    pub(super) files: BTreeSet<PathBuf>,
}

impl Snapshot {
    /// Looks at the machine. Other users' environments can only be seen as root.
    pub(super) fn take(run_dir: &Path) -> Result<Self> {
        let watched = |process: &Process| is_watched(process, run_dir);
        Ok(Self {
            loops: loops(),
            processes: proc::all().into_iter().filter(watched).collect(),
            mounts: mounts()?,
            files: WATCHED_DIRS
                .iter()
                .map(Path::new)
                .chain([run_dir.join("tmp").as_path()])
                .flat_map(list)
                .collect(),
        })
    }
}

/// Whether a process carries the run's mark, or is one of the daemons that tests start.
pub(super) fn is_watched(process: &Process, run_dir: &Path) -> bool {
    let named = |name: &&str| process.name == name[..name.len().min(NAME_LENGTH)];
    process
        .run
        .as_deref()
        .is_some_and(|run| Path::new(run) == run_dir)
        || WATCHED_PROCESSES.iter().any(named)
}

pub(super) fn loops() -> BTreeMap<String, String> {
    list(Path::new("/sys/block"))
        .filter_map(|device| {
            let backing = fs::read_to_string(device.join("loop/backing_file")).ok()?;
            let name = device.file_name()?.to_str()?;
            Some((format!("/dev/{name}"), backing.trim_end().to_owned()))
        })
        .collect()
}

pub(super) fn mounts() -> Result<BTreeSet<Mount>> {
    let text = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    Ok(parse_mounts(&text))
}

fn parse_mounts(text: &str) -> BTreeSet<Mount> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, point) = (fields.next()?, fields.next()?);
            Some(Mount {
                point: unescape(point),
                source: unescape(source),
            })
        })
        .collect()
}

/// The kernel writes blanks and backslashes in octal.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn list(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mounts_with_blanks() {
        let mounts = parse_mounts("/dev/loop3 /tmp/a\\040b ext4 ro 0 0\nproc /proc proc rw 0 0\n");
        let expected = Mount {
            point: "/tmp/a b".into(),
            source: "/dev/loop3".into(),
        };
        assert!(mounts.contains(&expected), "{mounts:?}");
        assert_eq!(mounts.len(), 2);
    }

    #[test]
    fn watches_our_daemons_by_the_name_the_kernel_keeps_and_marked_processes_by_their_mark() {
        let process = |name: &str, run: Option<&str>| Process {
            pid: 2,
            parent: 1,
            started: 1,
            name: name.into(),
            arguments: String::new(),
            run: run.map(Into::into),
        };
        let run = Path::new("/tmp/r");
        assert!(is_watched(&process("qemu-storage-da", None), run));
        assert!(is_watched(&process("sleep", Some("/tmp/r")), run));
        assert!(!is_watched(&process("sleep", Some("/tmp/other")), run));
        assert!(!is_watched(&process("sleep", None), run));
    }
}
