//! What the metrics print.

use super::*;

#[test]
fn what_is_counted_is_told_under_its_labels() {
    let metrics = Metrics::new().with_watcher(|| WatcherTotals {
        events: 7,
        gaps: 1,
        rescans: 2,
        ..WatcherTotals::default()
    });
    let second = Duration::from_secs(1);
    metrics.operation_finished(OperationKind::Attach, OperationStatus::Completed, second);
    metrics.step_finished("cloud_attach", "done", second);
    metrics.cloud_call("attach", "unknown", second);
    metrics.correlated(second);
    metrics.request_answered("/api/v1/volumes/{volume_id}", "GET", 404, second);
    metrics.present(Present {
        open_operations: 3,
        leases: 4,
        pinned: 5,
        findings: vec![(["phantom", "critical"], 2)],
        ..Present::default()
    });
    metrics.ready(vec![("store", true), ("cloud", false)]);
    let text = metrics.text();
    for line in [
        "volumed_operations_total{kind=\"attach\",outcome=\"completed\"} 1",
        "volumed_step_seconds_count{step=\"cloud_attach\",outcome=\"done\"} 1",
        "volumed_cloud_call_seconds_count{method=\"attach\",outcome=\"unknown\"} 1",
        "volumed_correlation_seconds_count 1",
        "volumed_http_requests_total{route=\"/api/v1/volumes/{volume_id}\",method=\"GET\",status=\"404\"} 1",
        "volumed_watcher_events_total 7",
        "volumed_watcher_gaps_total 1",
        "volumed_watcher_rescans_total 2",
        "volumed_open_operations 3.0",
        "volumed_leases 4.0",
        "volumed_pinned_devices 5.0",
        "volumed_findings{kind=\"phantom\",severity=\"critical\"} 2.0",
        "volumed_ready{check=\"cloud\"} 0.0",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nis not in\n{text}"
        );
    }
}

#[test]
fn a_clone_counts_into_the_same_registry() {
    let metrics = Metrics::new();
    let clone = metrics.clone();
    clone.correlated(Duration::ZERO);
    assert!(metrics.text().contains("volumed_correlation_seconds_count 1"));
}

#[test]
fn every_metric_is_in_the_documents_with_its_labels_and_no_other_is() {
    let metrics = Metrics::new()
        .with_watcher(WatcherTotals::default)
        .with_certificate(|| Some(Timestamp::UNIX_EPOCH));
    let second = Duration::from_secs(1);
    metrics.operation_finished(OperationKind::Attach, OperationStatus::Completed, second);
    metrics.step_finished("cloud_attach", "done", second);
    metrics.cloud_call("attach", "unknown", second);
    metrics.request_answered("/readyz", "GET", 200, second);
    metrics.ready(vec![("store", true)]);
    metrics.present(Present {
        volumes: vec![("in_use", 1)],
        findings: vec![(["phantom", "critical"], 2)],
        ..Present::default()
    });
    let classic = telemetry::exposition::classic(&metrics.text());
    telemetry::families::linted(&classic);
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/observability.md");
    telemetry::families::held_to(document, "volumed", &telemetry::families::families(&classic));
}
