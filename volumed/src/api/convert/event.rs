//! Events.

use volume_client::types::{Event, EventKind};

use crate::model;
use crate::store::EventRecord;

/// The event as callers see it.
pub(in crate::api) fn view(record: &EventRecord) -> Event {
    Event {
        id: u64::try_from(record.id).expect("SQLite numbers rows from one"),
        kind: kind(record.kind),
        volume_id: record.volume_id,
        operation_id: record.operation_id,
        data: record.data.clone(),
        at: record.at,
    }
}

fn kind(kind: model::EventKind) -> EventKind {
    match kind {
        model::EventKind::Operation => EventKind::Operation,
        model::EventKind::Volume => EventKind::Volume,
        model::EventKind::Mapping => EventKind::Mapping,
        model::EventKind::Lease => EventKind::Lease,
        model::EventKind::Finding => EventKind::Finding,
    }
}

/// The name under which a stream tells events of this kind.
pub(in crate::api) fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Operation => "operation",
        EventKind::Volume => "volume",
        EventKind::Mapping => "mapping",
        EventKind::Lease => "lease",
        EventKind::Finding => "finding",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_the_same_on_both_sides() {
        for &there in model::EventKind::ALL {
            assert_eq!(serde_json::to_value(kind(there)).unwrap(), there.as_str());
            assert_eq!(name(kind(there)), there.as_str());
        }
    }
}
