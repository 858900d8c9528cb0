//! What there is at this moment: numbers that are looked up when somebody asks for the metrics, and not counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// How much there is at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// Operations that have not ended.
    pub open_operations: u64,
    /// Of those, how many wait for their turn.
    pub waiting_operations: u64,
    /// The age of the oldest that has not ended; nought where there is none.
    pub oldest_operation: Duration,
    /// Calls to the cloud without an answer, of operations that have not ended.
    pub unanswered_calls: u64,
    /// The age of the oldest of them.
    pub oldest_unanswered_call: Duration,
    /// Volumes by state.
    pub volumes: Vec<(&'static str, u64)>,
    /// Live mappings.
    pub mappings: u64,
    /// Leases that have not ended.
    pub leases: u64,
    /// Devices that are held open.
    pub pinned: u64,
    /// What does not agree and is not passed over, by kind and severity.
    pub findings: Vec<([&'static str; 2], u64)>,
    /// Findings that somebody wants to be passed over.
    pub ignored_findings: u64,
    /// The database.
    pub database: Database,
}

/// How the database is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Database {
    /// Changes that wait for the writer.
    pub waiting: u64,
    /// Changes that the database itself failed since the start.
    pub errors: u64,
    /// When it last did.
    pub last_error: Option<Timestamp>,
    /// Its files, in bytes.
    pub size: u64,
    /// Room on its file system, in bytes, and the size of that.
    pub free: u64,
    /// The size of its file system, in bytes.
    pub capacity: u64,
    /// Whether something new is refused because the disk is full.
    pub is_short: bool,
}

/// What was told last. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    present: Present,
    ready: Vec<(&'static str, bool)>,
    watcher_seconds: f64,
    certificate: Option<Timestamp>,
}

impl Board {
    pub(super) fn present(&self, present: Present) {
        self.0.lock().present = present;
    }

    pub(super) fn ready(&self, checks: Vec<(&'static str, bool)>) {
        self.0.lock().ready = checks;
    }

    pub(super) fn certificate(&self, expires_at: Option<Timestamp>) {
        self.0.lock().certificate = expires_at;
    }

    pub(super) fn scan_runs_for(&self, time: Duration) {
        self.0.lock().watcher_seconds = time.as_secs_f64();
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus has floats; 53 bits are enough for all of these"
)]
fn float(number: u64) -> f64 {
    number as f64
}

impl Collector for Board {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.0.lock();
        let mut page = Page(encoder);
        state.present.encode(&mut page)?;
        page.gauge(
            "watcher_scan_running_seconds",
            "How long the running scan of the devices has been going; nought where none runs",
            state.watcher_seconds,
        )?;
        if let Some(at) = state.certificate {
            page.gauge(
                "certificate_expiry_timestamp_seconds",
                "Until when the certificate holds that is shown to callers over TCP, in seconds since 1970",
                at.as_duration().as_secs_f64(),
            )?;
        }
        let ready = state.ready.iter().map(|&(name, ok)| ([name], u64::from(ok)));
        page.family(
            "ready",
            "Whether what the daemon needs works (1), looked at twice a minute",
            ["check"],
            ready,
        )
    }
}

impl Present {
    fn encode(&self, page: &mut Page<'_>) -> Result<(), fmt::Error> {
        let Database {
            waiting,
            errors,
            last_error,
            size,
            free,
            capacity,
            is_short,
        } = self.database;
        for (name, help, value) in [
            (
                "open_operations",
                "Operations that have not ended",
                float(self.open_operations),
            ),
            (
                "queue_depth",
                "Operations that wait for their turn",
                float(self.waiting_operations),
            ),
            (
                "oldest_open_operation_age_seconds",
                "Age of the oldest operation that has not ended; nought where there is none",
                self.oldest_operation.as_secs_f64(),
            ),
            (
                "unanswered_cloud_calls",
                "Calls to the cloud of open operations whose outcome is not known",
                float(self.unanswered_calls),
            ),
            (
                "oldest_unanswered_cloud_call_age_seconds",
                "Age of the oldest of these calls; nought where there is none",
                self.oldest_unanswered_call.as_secs_f64(),
            ),
            (
                "mappings",
                "Live mappings of volumes to devices",
                float(self.mappings),
            ),
            ("leases", "Leases that have not ended", float(self.leases)),
            ("pinned_devices", "Devices that are held open", float(self.pinned)),
            (
                "ignored_findings",
                "Findings that somebody wants to be passed over",
                float(self.ignored_findings),
            ),
            (
                "database_writer_queue_depth",
                "Changes that wait for the database's writer",
                float(waiting),
            ),
            ("database_size_bytes", "The database's files", float(size)),
            (
                "database_filesystem_free_bytes",
                "Room on the database's file system",
                float(free),
            ),
            (
                "database_filesystem_size_bytes",
                "The size of that file system",
                float(capacity),
            ),
            (
                "database_disk_full",
                "Whether nothing new is taken because the disk is full (1)",
                float(u64::from(is_short)),
            ),
            (
                "database_last_error_timestamp_seconds",
                "When the database last failed a change, in seconds since 1970; nought for never since the start",
                last_error.map_or(0.0, |at| at.as_duration().as_secs_f64()),
            ),
        ] {
            page.gauge(name, help, value)?;
        }
        page.count(
            "database_errors",
            "Changes that the database itself failed",
            errors,
        )?;
        let volumes = self.volumes.iter().map(|&(state, count)| ([state], count));
        page.family("volumes", "Volumes by state", ["state"], volumes)?;
        let help = "Where cloud, kernel and records do not agree, without what is passed over";
        page.family(
            "findings",
            help,
            ["kind", "severity"],
            self.findings.iter().copied(),
        )
    }
}

/// Where metrics are written to.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), fmt::Error> {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn count(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn family<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        values: impl Iterator<Item = ([&'static str; N], u64)>,
    ) -> Result<(), fmt::Error> {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (words, value) in values {
            let mut of = labels.map(|label| (label, ""));
            for (label, word) in of.iter_mut().zip(words) {
                label.1 = word;
            }
            ConstGauge::new(float(value)).encode(family.encode_family(&of)?)?;
        }
        Ok(())
    }
}
