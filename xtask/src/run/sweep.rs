//! Removing what a run left: its processes, mounts, loop devices and files, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::leak::{loop_is_ours, mount_is_ours, process_is_ours};
use super::{proc, snapshot};
use crate::command::{command, output};
use crate::console;
use crate::wait::wait_until;

/// How long processes may take to end by themselves (they may have got Ctrl-C), and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(3);

/// More layers of devices and file systems than any run makes.
const ROUNDS: usize = 4;

/// Removes what is left of the run in `run_dir`. May be repeated; does nothing where nothing is left.
pub(super) fn sweep(run_dir: &Path) -> Result<()> {
    end_processes(run_dir);
    // A device stands on a file of a mounted file system, which may be on a device: from the top down, one layer a round.
    for _ in 0..ROUNDS {
        if release_top_layer(run_dir)? == 0 {
            break;
        }
    }
    match fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", run_dir.display()))
        }
        _ => Ok(()),
    }
}

/// Unmounts and detaches what nothing stands on any more. Returns how much there was to do.
fn release_top_layer(run_dir: &Path) -> Result<usize> {
    let loops = snapshot::loops();
    let mounts: Vec<_> = snapshot::mounts()?
        .into_iter()
        .rev()
        .filter(|mount| mount_is_ours(mount, &loops, run_dir))
        .collect();
    for mount in &mounts {
        attempt(&["umount", &mount.point]);
    }
    let nodes: Vec<_> = loops
        .keys()
        .filter(|node| loop_is_ours(node, &loops, run_dir))
        .collect();
    for node in &nodes {
        attempt(&["losetup", "-d", node]);
    }
    Ok(mounts.len() + nodes.len())
}

fn end_processes(run_dir: &Path) {
    for signal in [None, Some("TERM"), Some("KILL")] {
        let left = ours(run_dir);
        if left.is_empty() {
            return;
        }
        if let Some(signal) = signal {
            // The shell's own kill: a bare system has no other.
            attempt(
                &[
                    &["sh", "-c", "kill -s \"$@\"", "kill", signal],
                    as_strs(&left).as_slice(),
                ]
                .concat(),
            );
        }
        // Not gone in time is what the next, harder signal is for.
        let _ = wait_until("processes to end", PATIENCE, || {
            Ok(ours(run_dir).is_empty().then_some(()))
        });
    }
}

fn ours(run_dir: &Path) -> Vec<String> {
    let own_family = [std::process::id(), std::os::unix::process::parent_id()];
    let is_ours = |process: &proc::Process| {
        snapshot::is_watched(process, run_dir)
            && process_is_ours(process, run_dir)
            && !own_family.contains(&process.pid)
    };
    proc::all()
        .into_iter()
        .filter(is_ours)
        .map(|process| process.pid.to_string())
        .collect()
}

fn as_strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

fn attempt(words: &[&str]) {
    let Some((program, arguments)) = words.split_first() else {
        return;
    };
    if let Err(error) = output(command(program).args(arguments)) {
        console::warn(&format!("cleaning up: {error:#}"));
    }
}
