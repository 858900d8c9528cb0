//! Operations and the lines of their journals.

use serde_json::{Value, json};
use volume_client::types::{Operation, OperationKind, OperationStatus, StepRecord, StepState};

use crate::model::{self, Request};
use crate::store::{LineRecord, OperationRecord};

/// The operation as callers see it.
pub(in crate::api) fn view(record: OperationRecord, steps: Vec<LineRecord>) -> Operation {
    let kind = kind(record.request.kind());
    let (error, code, hint) = match record.failure {
        // Nothing went wrong: that it was withdrawn is its status.
        Some(failure) if failure.cancelled => (Some(failure.message), None, failure.hint),
        Some(failure) => (Some(failure.message), Some(failure.code), failure.hint),
        None => (record.waiting_for, None, None),
    };
    Operation {
        id: record.id,
        kind,
        status: status(record.status),
        volume_id: record.volume_id,
        vm_id: record.vm_id,
        request: request(record.request),
        response: record.response,
        error,
        error_code: code,
        error_hint: hint,
        cancel_requested: record.cancel_requested,
        actor: record.actor,
        request_id: record.request_id,
        steps: steps.into_iter().map(step).collect(),
        created_at: record.created_at,
        updated_at: record.updated_at,
        completed_at: record.completed_at,
    }
}

/// What was asked, in the words of the request that asked it.
fn request(request: Request) -> Value {
    match request {
        Request::Create {
            name,
            size_bytes,
            source: Some(source),
        } => json!({ "name": name, "size_bytes": size_bytes, "source": source }),
        Request::Create { name, size_bytes, .. } => json!({ "name": name, "size_bytes": size_bytes }),
        Request::Attach { vm_id } => json!({ "vm_id": vm_id }),
        Request::Detach {} | Request::Correlate {} => json!({}),
        Request::Delete {
            confirm_name: Some(name),
        } => json!({ "confirm_name": name }),
        Request::Delete { .. } => json!({}),
        Request::Resize { size_bytes } => json!({ "size_bytes": size_bytes }),
        Request::SnapshotCreate { snapshot_id, name } => json!({ "snapshot_id": snapshot_id, "name": name }),
        Request::SnapshotRevert { snapshot_id } | Request::SnapshotDelete { snapshot_id } => {
            json!({ "snapshot_id": snapshot_id })
        }
        Request::Adopt {
            provider_volume_id,
            name,
            ..
        } => json!({ "provider_volume_id": provider_volume_id, "name": name }),
    }
}

fn step(record: LineRecord) -> StepRecord {
    StepRecord {
        step: record.line.step,
        state: match record.line.state {
            model::StepState::Started => StepState::Started,
            model::StepState::Done => StepState::Done,
            model::StepState::Failed => StepState::Failed,
            model::StepState::Undoing => StepState::Undoing,
            model::StepState::Undone => StepState::Undone,
        },
        detail: record.detail,
        at: record.at,
    }
}

fn kind(kind: model::OperationKind) -> OperationKind {
    match kind {
        model::OperationKind::Create => OperationKind::Create,
        model::OperationKind::Attach => OperationKind::Attach,
        model::OperationKind::Detach => OperationKind::Detach,
        model::OperationKind::Delete => OperationKind::Delete,
        model::OperationKind::Resize => OperationKind::Resize,
        model::OperationKind::Correlate => OperationKind::Correlate,
        model::OperationKind::SnapshotCreate => OperationKind::SnapshotCreate,
        model::OperationKind::SnapshotRevert => OperationKind::SnapshotRevert,
        model::OperationKind::SnapshotDelete => OperationKind::SnapshotDelete,
        model::OperationKind::Adopt => OperationKind::Adopt,
    }
}

/// The kind that a caller asks for.
pub(in crate::api) fn kind_of(kind: OperationKind) -> model::OperationKind {
    match kind {
        OperationKind::Create => model::OperationKind::Create,
        OperationKind::Attach => model::OperationKind::Attach,
        OperationKind::Detach => model::OperationKind::Detach,
        OperationKind::Delete => model::OperationKind::Delete,
        OperationKind::Resize => model::OperationKind::Resize,
        OperationKind::Correlate => model::OperationKind::Correlate,
        OperationKind::SnapshotCreate => model::OperationKind::SnapshotCreate,
        OperationKind::SnapshotRevert => model::OperationKind::SnapshotRevert,
        OperationKind::SnapshotDelete => model::OperationKind::SnapshotDelete,
        OperationKind::Adopt => model::OperationKind::Adopt,
    }
}

fn status(status: model::OperationStatus) -> OperationStatus {
    match status {
        model::OperationStatus::Pending => OperationStatus::Pending,
        model::OperationStatus::Running => OperationStatus::Running,
        model::OperationStatus::Completed => OperationStatus::Completed,
        model::OperationStatus::Failed => OperationStatus::Failed,
        model::OperationStatus::Cancelled => OperationStatus::Cancelled,
    }
}

/// The status that a caller asks for.
pub(in crate::api) fn status_of(status: OperationStatus) -> model::OperationStatus {
    match status {
        OperationStatus::Pending => model::OperationStatus::Pending,
        OperationStatus::Running => model::OperationStatus::Running,
        OperationStatus::Completed => model::OperationStatus::Completed,
        OperationStatus::Failed => model::OperationStatus::Failed,
        OperationStatus::Cancelled => model::OperationStatus::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_status_and_step_reads_the_same_on_both_sides() {
        for &there in model::OperationKind::ALL {
            assert_eq!(serde_json::to_value(kind(there)).unwrap(), there.as_str());
            assert_eq!(kind_of(kind(there)), there);
        }
        for &there in model::OperationStatus::ALL {
            assert_eq!(serde_json::to_value(status(there)).unwrap(), there.as_str());
            assert_eq!(status_of(status(there)), there);
        }
        for &there in model::StepState::ALL {
            let line = LineRecord {
                line: model::JournalLine {
                    step: "x".into(),
                    state: there,
                },
                detail: None,
                at: jiff::Timestamp::UNIX_EPOCH,
            };
            assert_eq!(serde_json::to_value(step(line).state).unwrap(), there.as_str());
        }
    }

    #[test]
    fn a_request_is_shown_as_it_was_asked_without_how_it_is_recorded() {
        let attach = Request::Attach { vm_id: "vm".into() };
        assert_eq!(request(attach), json!({ "vm_id": "vm" }));
        assert_eq!(request(Request::Delete { confirm_name: None }), json!({}));
    }

    #[test]
    fn a_cancelled_operation_is_no_defect_of_ours() {
        let record = OperationRecord {
            id: model::OperationId::new(),
            status: model::OperationStatus::Cancelled,
            volume_id: model::VolumeId::new(),
            vm_id: None,
            request: Request::Detach {},
            response: None,
            failure: Some(model::Failure {
                cancelled: true,
                ..model::Failure::new(model::ErrorCode::Internal, "cancelled on request")
            }),
            waiting_for: None,
            cancel_requested: true,
            actor: "test".into(),
            request_id: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            completed_at: Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let shown = view(record, Vec::new());
        assert_eq!(shown.error_code, None);
        assert_eq!(shown.error.as_deref(), Some("cancelled on request"));
    }
}
