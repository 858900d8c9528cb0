//! Volumes: the record joined with its attachment, its open operation and its conditions.

use std::collections::HashMap;

use rusqlite::Connection;
use volume_client::types::{Attachment, AttachmentState, Condition, Volume, VolumeId, VolumeState};

use crate::model::{self, OperationId};
use crate::operation::ConditionRecord;
use crate::store::{
    AttachmentRecord, StoreError, VolumeFilter, VolumeRecord, attachments, operations, volumes,
};

/// A volume's record with what other tables say of it.
pub(in crate::api) struct Joined {
    /// The volume.
    pub(in crate::api) record: VolumeRecord,
    state: VolumeState,
    attachment: Option<AttachmentRecord>,
    operation: Option<OperationId>,
}

impl Joined {
    /// The volume with this id, unless it is deleted.
    pub(in crate::api) fn get(conn: &Connection, id: VolumeId) -> Result<Option<Self>, StoreError> {
        let record = volumes::get(conn, id)?;
        let Some((record, state)) = record.and_then(|r| state(r.state).map(|state| (r, state))) else {
            return Ok(None);
        };
        Ok(Some(Self {
            record,
            state,
            attachment: attachments::live(conn, id)?,
            operation: operations::open_for(conn, id)?.map(|operation| operation.id),
        }))
    }

    /// At most `limit` volumes, oldest first.
    pub(in crate::api) fn list(
        conn: &Connection,
        filter: &VolumeFilter,
        limit: u32,
    ) -> Result<Vec<Self>, StoreError> {
        let records = volumes::list(conn, filter, limit)?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(Vec::new());
        };
        let attachments = attachments::live_between(conn, first.id, last.id)?.into_iter();
        let mut attachments: HashMap<_, _> = attachments.map(|a| (a.volume_id, a)).collect();
        let open = operations::open_between(conn, first.id, last.id)?;
        let open: HashMap<_, _> = open.into_iter().collect();
        let join = |record: VolumeRecord| {
            Some(Self {
                state: state(record.state)?,
                attachment: attachments.remove(&record.id),
                operation: open.get(&record.id).copied(),
                record,
            })
        };
        Ok(records.into_iter().filter_map(join).collect())
    }
}

/// The volume as callers see it.
pub(in crate::api) fn view(joined: Joined, conditions: Vec<ConditionRecord>) -> Volume {
    let record = joined.record;
    Volume {
        id: record.id,
        name: record.name,
        size_bytes: record.size.0,
        state: joined.state,
        provider: record.provider,
        provider_volume_id: record.provider_ref,
        source: record.source,
        attachment: joined.attachment.and_then(attachment),
        handed_out: record.handed_out,
        known_zero: record.fresh_zero && !record.written && !record.handed_out,
        operation_id: joined.operation,
        conditions: conditions.into_iter().map(condition).collect(),
        created_at: record.created_at,
        updated_at: record.updated_at,
    }
}

fn attachment(record: AttachmentRecord) -> Option<Attachment> {
    let state = match record.state {
        model::AttachmentState::Attaching => AttachmentState::Attaching,
        model::AttachmentState::Attached => AttachmentState::Attached,
        model::AttachmentState::Detaching => AttachmentState::Detaching,
        model::AttachmentState::Detached => return None,
    };
    Some(Attachment {
        vm_id: record.vm_id,
        generation: record.generation,
        state,
        attached_at: record.attached_at,
    })
}

fn condition(record: ConditionRecord) -> Condition {
    Condition {
        kind: record.kind,
        since: record.since,
        reason: record.reason,
        hint: record.hint,
    }
}

/// The state as callers see it; a deleted volume is not seen.
fn state(state: model::VolumeState) -> Option<VolumeState> {
    Some(match state {
        model::VolumeState::Creating => VolumeState::Creating,
        model::VolumeState::Available => VolumeState::Available,
        model::VolumeState::Attaching => VolumeState::Attaching,
        model::VolumeState::InUse => VolumeState::InUse,
        model::VolumeState::Detaching => VolumeState::Detaching,
        model::VolumeState::Extending => VolumeState::Extending,
        model::VolumeState::Deleting => VolumeState::Deleting,
        model::VolumeState::Error => VolumeState::Error,
        model::VolumeState::Deleted => return None,
    })
}

/// The state that a caller asks for.
pub(in crate::api) fn state_of(state: VolumeState) -> model::VolumeState {
    match state {
        VolumeState::Creating => model::VolumeState::Creating,
        VolumeState::Available => model::VolumeState::Available,
        VolumeState::Attaching => model::VolumeState::Attaching,
        VolumeState::InUse => model::VolumeState::InUse,
        VolumeState::Detaching => model::VolumeState::Detaching,
        VolumeState::Extending => model::VolumeState::Extending,
        VolumeState::Deleting => model::VolumeState::Deleting,
        VolumeState::Error => model::VolumeState::Error,
    }
}
