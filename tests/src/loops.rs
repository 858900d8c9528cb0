//! The kernel's loop devices, as sysfs shows them: whose files they are over, and taking them away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// The file behind a loop device, as the kernel names it; `None` where nothing is bound.
#[must_use]
pub fn backing_file(node: &str) -> Option<PathBuf> {
    let name = node.strip_prefix("/dev/")?;
    let text = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(text.trim_end_matches('\n')))
}

fn all() -> Vec<(String, PathBuf)> {
    let names = fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    let nodes = names.filter_map(|name| Some(format!("/dev/{}", name.to_str()?)));
    nodes
        .filter_map(|node| backing_file(&node).map(|file| (node, file)))
        .collect()
}

/// The loop devices over files below `dir`.
#[must_use]
pub fn loops_within(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let within = all().into_iter().filter(|(_, file)| file.starts_with(&dir));
    within.map(|(node, _)| node).collect()
}

/// Takes away every loop device over a file below `dir`, and those that are stacked upon them first.
pub fn detach_within(dir: &Path) {
    for node in loops_within(dir) {
        for (stacked, file) in all() {
            if file == Path::new(&node) {
                detach(&stacked);
            }
        }
        detach(&node);
    }
}

fn detach(node: &str) {
    // One that is gone by now is as good.
    let _ = Command::new("losetup").args(["-d", node]).output();
}

/// Lets a loop device take the size that its file has now.
pub fn set_capacity(node: &str) {
    run("losetup", ["-c", node]);
}

/// A loop device over another block device: a holder inside the kernel, without a process.
#[derive(Debug)]
pub struct StackedLoop(String);

impl StackedLoop {
    /// Binds one over `node`.
    #[must_use]
    pub fn over(node: &str) -> Self {
        Self(run("losetup", ["-f", "--show", node]))
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.0
    }
}

impl Drop for StackedLoop {
    fn drop(&mut self) {
        detach(&self.0);
    }
}
