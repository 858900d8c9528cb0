//! Being root: whether we are, and doing a step as root through sudo when we are not.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{check, command, find, search_path};

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is the effective user, and asking needs no C library.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Makes sure that steps as root will work, asking for sudo's password now and not in the middle.
pub(crate) fn ensure_reachable() -> Result<()> {
    if is_root() {
        return Ok(());
    }
    if find("sudo").is_none() {
        bail!("block devices need root: run this as root, or install sudo");
    }
    check(command("sudo").arg("-v"))
}

/// `program` as root: as it is when we are root, through sudo otherwise.
pub(crate) fn as_root(program: &str) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    // sudo replaces the path by its own; env puts ours back.
    let mut path = std::ffi::OsString::from("PATH=");
    path.push(search_path());
    sudo.arg("env").arg(path).arg(program);
    sudo
}

/// This very program as root. Goes through /proc, since a build may have replaced the file meanwhile.
pub(crate) fn ourselves_as_root() -> Command {
    let program = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    as_root(&program.to_string_lossy())
}
