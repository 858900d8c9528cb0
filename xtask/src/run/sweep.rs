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

/// Removes what is left of the run in `run_dir`. May be repeated; does nothing where nothing is left.
pub(super) fn sweep(run_dir: &Path) -> Result<()> {
    end_processes(run_dir);
    // A device stands on a file of a mounted file system, which may be on a device: from the top down, layer by layer.
    let mut refused = Vec::new();
    let released = wait_until("mounts and loop devices to go", PATIENCE, || {
        refused = release_top_layer(run_dir)?;
        Ok(nothing_held(run_dir)?.then_some(()))
    });
    if released.is_err() {
        refused
            .iter()
            .for_each(|why| console::warn(&format!("cleaning up: {why}")));
    }
    match fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", run_dir.display()))
        }
        _ => Ok(()),
    }
}

/// Unmounts and detaches what nothing stands on any more. Returns the words of those that would not go yet.
fn release_top_layer(run_dir: &Path) -> Result<Vec<String>> {
    let loops = snapshot::loops();
    let mounts = snapshot::mounts()?;
    let ours = mounts
        .iter()
        .rev()
        .filter(|mount| mount_is_ours(mount, &loops, run_dir));
    let mut refused: Vec<String> = ours
        .filter_map(|mount| attempt(&["umount", &mount.point]).err())
        .collect();
    let nodes = loops.keys().filter(|node| loop_is_ours(node, &loops, run_dir));
    refused.extend(nodes.filter_map(|node| attempt(&["losetup", "-d", node]).err()));
    Ok(refused)
}

fn nothing_held(run_dir: &Path) -> Result<bool> {
    let loops = snapshot::loops();
    let is_mounted = snapshot::mounts()?
        .iter()
        .any(|mount| mount_is_ours(mount, &loops, run_dir));
    Ok(!is_mounted && !loops.keys().any(|node| loop_is_ours(node, &loops, run_dir)))
}

fn end_processes(run_dir: &Path) {
    for signal in [None, Some("TERM"), Some("KILL")] {
        let left = ours(run_dir);
        if left.is_empty() {
            return;
        }
        if let Some(signal) = signal {
            // The shell's own kill: a bare system has no other.
            let kill = ["sh", "-c", "kill -s \"$@\"", "kill", signal];
            // One that ended meanwhile makes kill complain, and is no trouble.
            let _ = attempt(&[kill.as_slice(), &as_strs(&left)].concat());
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

fn attempt(words: &[&str]) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    output(command(program).args(arguments))
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}
