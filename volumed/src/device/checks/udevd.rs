//! Whether a udevd runs. The daemon works without one; the links in `/dev/disk` do not.

use std::path::Path;

use crate::device::root::SysRoot;
use crate::model::Check;

/// What udevd's process is called, by systemd and by eudev.
const PROCESSES: [&str; 2] = ["systemd-udevd", "udevd"];

/// A udevd that was found.
struct Udevd {
    pid: u32,
    stopped: bool,
}

/// Whether a udevd runs: by its socket and by its process, for either can be left when the other is gone.
pub(super) fn udevd(root: &SysRoot) -> Check {
    const NAME: &str = "udevd";
    const LINKS: &str = "the links in /dev/disk cannot be relied on";
    let socket = root.udevd_socket();
    match (socket.exists(), find(&root.proc)) {
        (_, Some(udevd)) if udevd.stopped => Check::warning(
            NAME,
            format!("process {} is stopped; {LINKS}", udevd.pid),
            "let it go on (`kill -CONT`) or restart it (`systemctl restart systemd-udevd`)",
        ),
        (true, Some(udevd)) => Check::passed(NAME, format!("runs as process {}", udevd.pid)),
        (false, Some(udevd)) => Check::warning(
            NAME,
            format!(
                "process {} runs, but {} is not there",
                udevd.pid,
                socket.display()
            ),
            "restart it: `systemctl restart systemd-udevd`",
        ),
        (true, None) => Check::warning(
            NAME,
            format!(
                "{} is there, but no such process is seen; {LINKS}",
                socket.display()
            ),
            "restart it (`systemctl restart systemd-udevd`); in a container it may be the host's",
        ),
        (false, None) => Check::warning(
            NAME,
            format!("none runs; {LINKS}"),
            "start it (`systemctl start systemd-udevd`), for people and other programs that use them",
        ),
    }
}

fn find(proc: &Path) -> Option<Udevd> {
    let pids = std::fs::read_dir(proc).ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| of(proc, pid)).next()
}

/// The process, if it is a udevd. Its workers have other names.
fn of(proc: &Path, pid: u32) -> Option<Udevd> {
    let dir = proc.join(pid.to_string());
    let name = std::fs::read_to_string(dir.join("comm")).ok()?;
    if !PROCESSES.contains(&name.trim_end()) {
        return None;
    }
    let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
    // The name in brackets may hold anything; the state is the word after it.
    let state = stat.rsplit_once(')')?.1.split_whitespace().next()?;
    (state != "Z").then_some(Udevd {
        pid,
        stopped: matches!(state, "T" | "t"),
    })
}
