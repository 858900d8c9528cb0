//! How much there is at this moment, looked up for the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use volume_client::types::{Finding, Severity};

use super::Api;
use crate::metrics::{Database, Present};
use crate::model::VolumeState;
use crate::reconcile;
use crate::store::{Store, StoreError, calls, leases, mappings, operations, volumes};

/// Looks everything up. Nothing is asked of the cloud.
pub(super) async fn look(api: &Api) -> Result<Present, StoreError> {
    let (recorded, findings) = (recorded(&api.store).await?, api.reconciler.findings().await?);
    let (ignored, heeded): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.ignored.is_some());
    Ok(Present {
        waiting_operations: api.operations.queue_depth() as u64,
        pinned: api.operations.pinned() as u64,
        findings: by_kind(&heeded),
        ignored_findings: ignored.len() as u64,
        database: database(&api.store),
        ..recorded
    })
}

async fn recorded(store: &Store) -> Result<Present, StoreError> {
    let now = store.now();
    let age = move |since: Option<Timestamp>| {
        let age = since.map(|since| now.duration_since(since));
        age.and_then(|age| Duration::try_from(age).ok())
            .unwrap_or_default()
    };
    let read = store.read(move |conn| {
        let open = operations::all_open(conn)?;
        let (unanswered_calls, first_call) = calls::unanswered(conn)?;
        Ok(Present {
            open_operations: open.len() as u64,
            oldest_operation: age(open.iter().map(|operation| operation.created_at).min()),
            unanswered_calls,
            oldest_unanswered_call: age(first_call),
            volumes: in_every_state(&volumes::count_by_state(conn)?),
            mappings: mappings::all_live(conn)?.len() as u64,
            leases: leases::list(conn, None, u32::MAX)?.len() as u64,
            ..Present::default()
        })
    });
    read.await
}

fn in_every_state(found: &[(VolumeState, u64)]) -> Vec<(&'static str, u64)> {
    let states = VolumeState::ALL
        .iter()
        .filter(|state| **state != VolumeState::Deleted);
    let count = |state: &VolumeState| {
        found
            .iter()
            .find(|(of, _)| of == state)
            .map_or(0, |(_, count)| *count)
    };
    states.map(|state| (state.as_str(), count(state))).collect()
}

fn by_kind(findings: &[&Finding]) -> Vec<([&'static str; 2], u64)> {
    let mut counts: BTreeMap<[&'static str; 2], u64> = BTreeMap::new();
    for finding in findings {
        let labels = [reconcile::kind_name(finding.kind), severity(finding.severity)];
        *counts.entry(labels).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn database(store: &Store) -> Database {
    let strain = store.strain();
    Database {
        waiting: strain.waiting as u64,
        errors: strain.errors,
        last_error: strain.last_error,
        size: strain.size,
        free: strain.free,
        capacity: strain.capacity,
        is_short: strain.is_short,
    }
}
