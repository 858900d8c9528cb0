//! Whether the kernel's disks, and what tells of them, are as the daemon needs them: looked at for people, decided by never.

mod alarms;
mod links;
mod nodes;
mod serials;
#[cfg(test)]
mod tests;
mod udevd;

use std::sync::atomic::Ordering;

use super::disk::Inventory;
use super::root::SysRoot;
use super::watcher::WatcherStats;
use crate::model::Check;

/// Examines the disks of `inventory`, their nodes and links, and the udevd that makes the links. Changes nothing; blocks
/// for as long as reading a few directories takes.
///
/// Links are made a moment after their disk has come: what is said of them right after a change may be true no longer.
#[must_use]
pub fn examine_disks(root: &SysRoot, inventory: &Inventory) -> Vec<Check> {
    vec![
        serials::buses(inventory),
        serials::present(inventory),
        serials::distinct(inventory),
        nodes::diskseq(inventory),
        nodes::nodes(inventory),
        udevd::udevd(root),
        links::links(root, inventory),
    ]
}

/// Examines a watcher by what it counts. Changes nothing.
#[must_use]
pub fn examine_watcher(stats: &WatcherStats) -> Vec<Check> {
    let missed = stats.events_missed.load(Ordering::Relaxed);
    let failed = stats.scan_failures.load(Ordering::Relaxed);
    vec![
        alarms::alarms(stats.hearing(), missed),
        alarms::scans(stats.scan_running_for(), stats.last_scan_duration(), failed),
    ]
}
