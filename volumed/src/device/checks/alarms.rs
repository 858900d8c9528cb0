//! Whether the watcher hears of changes, and whether its scans come to an end.

use std::time::Duration;

use crate::device::watcher::Hearing;
use crate::model::Check;

/// A scan takes milliseconds; one that takes so long waits for a disk that does not answer.
const HANGS: Duration = Duration::from_secs(10);

/// What the watcher hears. Without the kernel's uevents it lives on inotify and its timer.
pub(super) fn alarms(hearing: Hearing, missed: u64) -> Check {
    const NAME: &str = "device events";
    let heard = [
        (hearing.kernel, "the kernel's uevents"),
        (hearing.udev, "udevd's events"),
        (hearing.inotify, "changes of the device directory"),
    ];
    let heard: Vec<_> = heard
        .iter()
        .filter(|(heard, _)| *heard)
        .map(|(_, what)| *what)
        .collect();
    let missed = match missed {
        0 => String::new(),
        n => format!("; {n} uevents were lost so far, and scans made up for them"),
    };
    let seen = format!("heard are {}{missed}", heard.join(", "));
    match (hearing.kernel, hearing.inotify) {
        (true, true) => Check::passed(NAME, seen),
        (true, false) => Check::warning(
            NAME,
            seen,
            "let the daemon use inotify: raise fs.inotify.max_user_instances and max_user_watches",
        ),
        (false, _) => Check::warning(
            NAME,
            seen,
            "let the daemon open netlink sockets (kobject-uevent): no RestrictAddressFamilies= without AF_NETLINK",
        ),
    }
}

/// Whether scans end, and end well.
pub(super) fn scans(running_for: Option<Duration>, last: Duration, failed: u64) -> Check {
    const NAME: &str = "device scans";
    if let Some(running) = running_for.filter(|running| *running > HANGS) {
        let seen = format!("a scan has been going for {} s", running.as_secs());
        return Check::failed(
            NAME,
            seen,
            "a disk does not answer: the kernel's log (`dmesg`) names it",
        );
    }
    let seen = format!("the last one took {:.1} ms", last.as_secs_f64() * 1000.0);
    match failed {
        0 => Check::passed(NAME, seen),
        n => Check::warning(
            NAME,
            format!("{n} failed since the daemon's start; {seen}"),
            "the daemon's log says why; is /sys readable?",
        ),
    }
}
