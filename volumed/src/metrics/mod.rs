//! What the daemon counts: typed handles over one Prometheus registry, every label from a closed set.
//!
//! Counting never fails and never waits for I/O. Counts begin at nought with each process.

mod handles;
mod present;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::registry::Registry;

use crate::model::{OperationKind, OperationStatus};
use handles::Handles;
pub use present::{Database, Present};

/// What every name begins with.
const PREFIX: &str = "volumed";

/// The daemon's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handles: Handles,
    board: present::Board,
    registry: Arc<Registry>,
    watcher: Option<WatcherSource>,
    expiry: Option<ExpirySource>,
}

/// Tells until when the certificate holds that is shown.
type ExpirySource = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// Tells what the device watcher has seen so far.
type WatcherSource = Arc<dyn Fn() -> WatcherTotals + Send + Sync>;

/// Running totals of the device watcher since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatcherTotals {
    /// Events that the kernel sent.
    pub events: u64,
    /// Times at which events were lost.
    pub gaps: u64,
    /// Full scans of the kernel's devices.
    pub rescans: u64,
    /// Events that were lost, as far as is known.
    pub lost: u64,
    /// Scans that failed as a whole.
    pub failed_scans: u64,
    /// How long the running scan has been going.
    pub scan_runs_for: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, with everything at nought.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let handles = Handles::register(&mut registry);
        let board = present::Board::default();
        registry.register_collector(Box::new(board.clone()));
        Self {
            handles,
            board,
            registry: Arc::new(registry),
            watcher: None,
            expiry: None,
        }
    }

    /// The same, telling of the device watcher what `totals` says whenever the metrics are read.
    #[must_use]
    pub fn with_watcher(mut self, totals: impl Fn() -> WatcherTotals + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(totals));
        self
    }

    /// The same, telling of the certificate that is shown over TCP what `expiry` says whenever the metrics are read.
    #[must_use]
    pub fn with_certificate(
        mut self,
        expiry: impl Fn() -> Option<Timestamp> + Send + Sync + 'static,
    ) -> Self {
        self.expiry = Some(Arc::new(expiry));
        self
    }

    /// An operation ended as `status`, `took` after it was recorded.
    pub fn operation_finished(&self, kind: OperationKind, status: OperationStatus, took: Duration) {
        let labels = [("kind", kind.as_str()), ("outcome", status.as_str())];
        self.handles.operations.get_or_create(&labels).inc();
        let kind = [("kind", kind.as_str())];
        self.handles
            .operation_seconds
            .get_or_create(&kind)
            .observe(took.as_secs_f64());
    }

    /// A step of an operation came back with `outcome` (`done`, `failed`, `waiting`, `undone`) after `took`.
    pub fn step_finished(&self, step: &'static str, outcome: &'static str, took: Duration) {
        let labels = [("step", step), ("outcome", outcome)];
        self.handles
            .step_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A call to the cloud came back with `outcome` (a word of the caller's closed set: `ok`, `refused`, `unknown`, …).
    pub fn cloud_call(&self, method: &'static str, outcome: &'static str, took: Duration) {
        let labels = [("method", method), ("outcome", outcome)];
        self.handles
            .cloud_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A volume's device was found and proven `took` after the cloud said that it is attached.
    pub fn correlated(&self, took: Duration) {
        self.handles.correlation_seconds.observe(took.as_secs_f64());
    }

    /// A mapping was committed this long after the kernel's uevent that announced its device.
    pub fn bound(&self, after_uevent: Duration) {
        self.handles.bind_seconds.observe(after_uevent.as_secs_f64());
    }

    /// One comparison of records, cloud and kernel.
    pub fn compared(&self, took: Duration) {
        self.handles.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// A request was answered with `status`. `route` is the pattern that it matched, never the path that was asked for.
    pub fn request_answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = handles::Request {
            route: route.to_owned(),
            method,
            status,
        };
        self.handles.requests.get_or_create(&labels).inc();
        self.handles.request_seconds.observe(took.as_secs_f64());
    }

    /// There is this much at this moment.
    pub fn present(&self, present: Present) {
        self.board.present(present);
    }

    /// Of what the daemon needs, this works and that does not.
    pub fn ready(&self, checks: Vec<(&'static str, bool)>) {
        self.board.ready(checks);
    }

    /// Everything, as `OpenMetrics` text.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(totals) = &self.watcher {
            self.take_over(totals());
        }
        self.board
            .certificate(self.expiry.as_ref().and_then(|expiry| expiry()));
        telemetry::exposition::openmetrics(&self.registry, PREFIX, env!("CARGO_PKG_VERSION"))
    }

    fn take_over(&self, totals: WatcherTotals) {
        let handles = &self.handles;
        for (counter, total) in [
            (&handles.watcher_events, totals.events),
            (&handles.watcher_gaps, totals.gaps),
            (&handles.watcher_rescans, totals.rescans),
            (&handles.watcher_lost, totals.lost),
            (&handles.watcher_failed_scans, totals.failed_scans),
        ] {
            counter.inner().store(total, Ordering::Relaxed);
        }
        self.board.scan_runs_for(totals.scan_runs_for);
    }
}
