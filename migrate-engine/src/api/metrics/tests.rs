//! What the metrics are called, as the documents have it.

use serde_json::{Value, json};
use telemetry::families::{families, held_to, linted};

use crate::api::openapi::tests::site::Site;
use crate::store::JobEnd;

#[tokio::test]
async fn every_metric_is_in_the_documents_with_its_labels_and_no_other_is() {
    let site = Site::new();
    let job = site.job().await;
    site.work(job["id"].as_str().unwrap(), &JobEnd::Completed);
    let (_, text) = site.ask("GET", "/metrics", json!({})).await;
    let Value::String(text) = text else {
        panic!("{text}")
    };
    linted(&text);
    held_to(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/observability.md"),
        "migrate-engine",
        &families(&text),
    );
    assert!(
        text.contains("migrate_engine_replications{status=\"completed\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("migrate_engine_worker_connected{worker=\"beside\"} 1"),
        "{text}"
    );
}
