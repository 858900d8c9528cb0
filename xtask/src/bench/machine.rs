//! What the numbers were measured on: processor, memory, kernel, versions of the tools.

use std::fs;
use std::path::Path;

use crate::command::{command, output};

/// One line about the machine.
pub(super) fn describe() -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {cpu}, memory {memory}, Linux {}", kernel.trim())
}

/// The first line that a tool says about its version.
pub(super) fn version(program: impl AsRef<Path>) -> String {
    let said = output(command(program).arg("--version")).unwrap_or_default();
    said.lines().next().unwrap_or("unknown version").to_owned()
}

/// Memory that can be used without swapping, in bytes.
pub(super) fn available_memory() -> u64 {
    let text = field("/proc/meminfo", "MemAvailable").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}
