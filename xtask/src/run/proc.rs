//! Processes as /proc shows them: name, parent, start, and whether they carry a run's mark.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One living process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// In clock ticks after boot: tells two processes with the same id apart.
    pub(super) started: u64,
    /// The kernel's name of it, 15 bytes at most.
    pub(super) name: String,
    pub(super) arguments: String,
    /// The directory of the run it belongs to by its environment.
    pub(super) run: Option<String>,
}

/// All processes that live; those that merely wait to be reaped are left out.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect()
}

/// Reads one process; nothing if it ended meanwhile.
fn read(pid: u32) -> Option<Process> {
    let dir = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let (name, state, parent, started) = parse_stat(&stat)?;
    if state == "Z" || state == "X" {
        return None;
    }
    let read = |file| fs::read(dir.join(file)).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&read("cmdline"))
        .replace('\0', " ")
        .trim_end()
        .to_owned();
    let run = find_mark(&read("environ"));
    Some(Process {
        pid,
        parent,
        started,
        name: name.to_owned(),
        arguments,
        run,
    })
}

/// The name may hold spaces and parentheses, so the fields are counted from the last one.
fn parse_stat(stat: &str) -> Option<(&str, &str, u32, u64)> {
    let (head, tail) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some((
        name,
        fields.first()?,
        fields.get(1)?.parse().ok()?,
        fields.get(19)?.parse().ok()?,
    ))
}

fn find_mark(environ: &[u8]) -> Option<String> {
    environ.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable
            .strip_prefix(super::MARK.as_bytes())?
            .strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a (b) c) S 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0";
        assert_eq!(parse_stat(stat), Some(("a (b) c", "S", 7, 1234)));
    }

    #[test]
    fn finds_the_mark_and_nothing_that_looks_like_it() {
        assert_eq!(
            find_mark(b"A=1\0XTASK_RUN=/tmp/x\0B=2\0").as_deref(),
            Some("/tmp/x")
        );
        assert_eq!(find_mark(b"XXTASK_RUN=/tmp/x\0XTASK_RUNNER=sudo\0"), None);
    }

    #[test]
    fn sees_this_very_process() {
        let pid = std::process::id();
        assert!(
            all()
                .iter()
                .any(|process| process.pid == pid && process.started > 0)
        );
    }
}
