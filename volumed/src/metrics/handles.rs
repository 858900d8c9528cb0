//! The metrics themselves: their names, their help texts and their labels.

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Label = (&'static str, &'static str);
type Histograms<const N: usize> = Family<[Label; N], Histogram>;

/// The labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) route: String,
    pub(super) method: &'static str,
    pub(super) status: u16,
}

impl EncodeLabelSet for Request {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.status.to_string();
        let labels = [
            ("route", self.route.as_str()),
            ("method", self.method),
            ("status", &status),
        ];
        EncodeLabelSet::encode(&labels, encoder)
    }
}

#[derive(Clone)]
pub(super) struct Handles {
    pub(super) operations: Family<[Label; 2], Counter>,
    pub(super) operation_seconds: Histograms<1>,
    pub(super) step_seconds: Histograms<2>,
    pub(super) cloud_seconds: Histograms<2>,
    pub(super) correlation_seconds: Histogram,
    pub(super) bind_seconds: Histogram,
    pub(super) reconcile_seconds: Histogram,
    pub(super) requests: Family<Request, Counter>,
    pub(super) request_seconds: Histogram,
    pub(super) watcher_events: Counter,
    pub(super) watcher_gaps: Counter,
    pub(super) watcher_rescans: Counter,
    pub(super) watcher_lost: Counter,
    pub(super) watcher_failed_scans: Counter,
}

/// One millisecond to two minutes and more, a factor of two apart.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

/// Half a millisecond to a minute and more, so close together that a percentile read off them is right within a fifth.
fn fine_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 1.2, 66))
}

impl Handles {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let handles = Self {
            operations: Family::default(),
            operation_seconds: Family::new_with_constructor(seconds),
            step_seconds: Family::new_with_constructor(seconds),
            cloud_seconds: Family::new_with_constructor(seconds),
            correlation_seconds: seconds(),
            bind_seconds: fine_seconds(),
            reconcile_seconds: seconds(),
            requests: Family::default(),
            request_seconds: seconds(),
            watcher_events: Counter::default(),
            watcher_gaps: Counter::default(),
            watcher_rescans: Counter::default(),
            watcher_lost: Counter::default(),
            watcher_failed_scans: Counter::default(),
        };
        handles.name(registry);
        handles
    }

    fn name(&self, registry: &mut Registry) {
        let h = self.clone();
        registry.register("operations", "Operations that ended", h.operations);
        registry.register(
            "operation_seconds",
            "From an operation's record to its end",
            h.operation_seconds,
        );
        registry.register(
            "step_seconds",
            "How long a step of an operation took",
            h.step_seconds,
        );
        registry.register(
            "cloud_call_seconds",
            "How long a call to the cloud took",
            h.cloud_seconds,
        );
        registry.register(
            "correlation_seconds",
            "From the cloud's word that a volume is attached to its device being found and proven",
            h.correlation_seconds,
        );
        registry.register(
            "uevent_to_bound_seconds",
            "From the kernel's uevent that announced a device to its committed mapping",
            h.bind_seconds,
        );
        registry.register(
            "reconcile_seconds",
            "How long one comparison of records, cloud and kernel took",
            h.reconcile_seconds,
        );
        registry.register("http_requests", "Requests that were answered", h.requests);
        registry.register(
            "http_request_seconds",
            "How long a request took to be answered",
            h.request_seconds,
        );
        registry.register(
            "watcher_events",
            "Events that the kernel sent about devices",
            h.watcher_events,
        );
        registry.register(
            "watcher_gaps",
            "Times at which such events were lost",
            h.watcher_gaps,
        );
        registry.register("watcher_rescans", "Full scans of the devices", h.watcher_rescans);
        registry.register(
            "watcher_lost_events",
            "Such events that were lost, as far as their numbers tell",
            h.watcher_lost,
        );
        registry.register(
            "watcher_failed_scans",
            "Scans of the devices that failed as a whole",
            h.watcher_failed_scans,
        );
    }
}
