//! Snapshots.

use volume_client::types::{Snapshot, SnapshotState};

use crate::model;
use crate::store::SnapshotRecord;

/// The snapshot as callers see it; a deleted one is not seen.
pub(in crate::api) fn view(record: SnapshotRecord) -> Option<Snapshot> {
    let state = match record.state {
        model::SnapshotState::Creating => SnapshotState::Creating,
        model::SnapshotState::Ready => SnapshotState::Ready,
        model::SnapshotState::Deleting => SnapshotState::Deleting,
        model::SnapshotState::Deleted => return None,
    };
    Some(Snapshot {
        id: record.id,
        volume_id: record.volume_id,
        name: record.name,
        size_bytes: record.size.0,
        state,
        created_at: record.created_at,
    })
}
