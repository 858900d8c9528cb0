//! What was counted: figures for the last line, and everything that must not have been.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use super::Plan;

/// The figures of a soak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Cycles that the lanes began.
    pub cycles: u64,
    /// Operations by kind and end, as `attach completed` or `attach size_mismatch`.
    pub operations: BTreeMap<String, u64>,
    /// Faults that struck, by kind: the cloud's, the neighbour's.
    pub faults: BTreeMap<String, u64>,
    /// Times that the daemon was killed.
    pub kills: u64,
    /// Phantoms that an operator pulled out after the daemon had shown them.
    pub phantoms: u64,
    /// Openings whose bytes were all as they must be.
    pub right: u64,
    /// Openings that were refused before anything was read, by code.
    pub refused: BTreeMap<String, u64>,
    /// Openings after which reading or writing failed.
    pub failed: u64,
    /// Openings that read a byte of anybody else's, or an older one.
    pub wrong: u64,
    /// Blocks that were compared in the volumes' files at the end, from outside.
    pub blocks: u64,
    /// What was left that should be gone: devices, leases, operations, volumes, descriptors, threads.
    pub leaks: u64,
    /// The longest that an operation took.
    pub longest: Duration,
}

/// What is counted while the soak goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    figures: Mutex<Figures>,
    violations: Mutex<Vec<String>>,
}

/// What came of a soak.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was to do.
    pub plan: Plan,
    /// What was counted.
    pub figures: Figures,
    /// What must not have happened; empty after a good one.
    pub violations: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Tally {
    /// Counts something.
    pub(super) fn count(&self, how: impl FnOnce(&mut Figures)) {
        how(&mut self.figures.lock());
    }

    /// Notes something that must not happen.
    pub(super) fn violated(&self, what: String) {
        self.violations.lock().push(what);
    }

    /// Notes something that was left behind.
    pub(super) fn leaked(&self, what: String) {
        self.count(|figures| figures.leaks += 1);
        self.violated(what);
    }

    pub(super) fn cycles(&self) -> u64 {
        self.figures.lock().cycles
    }

    /// The end of counting; `struck` are the faults of the cloud.
    pub(super) fn report(self, plan: &Plan, struck: BTreeMap<&'static str, u64>, took: Duration) -> Report {
        let mut figures = self.figures.into_inner();
        let struck = struck.into_iter().map(|(kind, times)| (kind.to_owned(), times));
        figures.faults.extend(struck);
        Report {
            plan: *plan,
            figures,
            violations: self.violations.into_inner(),
            took,
        }
    }
}

/// Adds one to what is counted under this name.
pub(super) fn add(counts: &mut BTreeMap<String, u64>, name: impl Into<String>) {
    *counts.entry(name.into()).or_default() += 1;
}

impl Report {
    /// Keeps the daemon's log of a soak that went wrong, where temporary files are.
    pub(super) fn keep_log(&self, log: &str) {
        let file = std::env::temp_dir().join(format!("attach-soak-{}.log", self.plan.seed));
        match std::fs::write(&file, log) {
            Ok(()) => eprintln!("the daemon's log: {}", file.display()),
            Err(error) => eprintln!("cannot keep the daemon's log: {error}"),
        }
    }
}

struct Counts<'a>(&'a BTreeMap<String, u64>);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.values().sum::<u64>())?;
        let each: Vec<_> = self
            .0
            .iter()
            .map(|(name, times)| format!("{name} {times}"))
            .collect();
        if each.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", each.join(", "))
    }
}

/// The figures on one line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        write!(
            f,
            "cycles={} operations={} longest={:.1}s faults={} kills={} phantoms={} right={} refused={} failed={} wrong={} \
             blocks={} leaks={} violations={} lanes={} seed={} seconds={:.0}",
            figures.cycles,
            Counts(&figures.operations),
            figures.longest.as_secs_f64(),
            Counts(&figures.faults),
            figures.kills,
            figures.phantoms,
            figures.right,
            Counts(&figures.refused),
            figures.failed,
            figures.wrong,
            figures.blocks,
            figures.leaks,
            self.violations.len(),
            self.plan.lanes,
            self.plan.seed,
            self.took.as_secs_f64(),
        )
    }
}
