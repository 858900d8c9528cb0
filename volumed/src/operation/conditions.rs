//! The conditions of volumes: raised and cleared by what is observed, never stored, seen anew after a restart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use volume_client::types::ConditionKind;

use super::view::ConditionRecord;
use crate::model::VolumeId;

/// The conditions that stand at present.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    standing: Mutex<BTreeMap<(VolumeId, &'static str), ConditionRecord>>,
}

impl Conditions {
    /// Raises a condition; one that stands keeps its `since`.
    pub(super) fn raise(&self, volume_id: VolumeId, kind: ConditionKind, reason: String, hint: &str) {
        let mut standing = self.standing.lock();
        let entry = standing.entry((volume_id, key(kind))).or_insert_with(|| {
            tracing::warn!(volume = %volume_id, ?kind, reason, "condition raised");
            let since = Timestamp::now();
            ConditionRecord {
                volume_id,
                kind,
                since,
                reason: String::new(),
                hint: hint.to_owned(),
            }
        });
        entry.reason = reason;
    }

    /// Clears a condition, if it stands.
    pub(super) fn clear(&self, volume: VolumeId, kind: ConditionKind) {
        if self.standing.lock().remove(&(volume, key(kind))).is_some() {
            tracing::info!(%volume, ?kind, "condition cleared");
        }
    }

    /// Clears every condition of a volume.
    pub(super) fn clear_all(&self, volume: VolumeId) {
        self.standing.lock().retain(|(of, _), _| *of != volume);
    }

    /// The conditions of a volume.
    pub(super) fn of(&self, volume: VolumeId) -> Vec<ConditionRecord> {
        let standing = self.standing.lock();
        standing
            .values()
            .filter(|condition| condition.volume_id == volume)
            .cloned()
            .collect()
    }
}

fn key(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::DeviceMissing => "device_missing",
        ConditionKind::Ambiguous => "ambiguous",
        ConditionKind::SizeMismatch => "size_mismatch",
        ConditionKind::MappingStale => "mapping_stale",
        ConditionKind::GhostAttached => "ghost_attached",
        ConditionKind::AttachedElsewhere => "attached_elsewhere",
        ConditionKind::GoneInCloud => "gone_in_cloud",
        ConditionKind::Busy => "busy",
        ConditionKind::Unknown => "unknown",
        ConditionKind::JobPending => "job_pending",
    }
}
