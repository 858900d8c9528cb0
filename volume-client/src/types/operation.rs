//! Operations: every change is one, recorded before it starts and followed until it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ErrorCode, OperationId, VolumeId};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Create a volume.
    Create,
    /// Attach a volume and find its device.
    Attach,
    /// Detach a volume.
    Detach,
    /// Delete a volume.
    Delete,
    /// Make a volume larger.
    Resize,
    /// Find the device of an attached volume anew.
    Correlate,
    /// Take a snapshot.
    SnapshotCreate,
    /// Put a volume back to a snapshot.
    SnapshotRevert,
    /// Delete a snapshot.
    SnapshotDelete,
    /// Make a record of a volume that the cloud has, and take over its attachment here.
    Adopt,
}

/// Where an operation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// Recorded, not started.
    Pending,
    /// Being done, or being undone.
    Running,
    /// Done.
    Completed,
    /// Not done, and what it had done is undone; `error` says why.
    Failed,
    /// Withdrawn before it took effect.
    Cancelled,
}

impl OperationStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: OperationKind,
    /// Where it is.
    pub status: OperationStatus,
    /// The volume that it is about.
    pub volume_id: VolumeId,
    /// The VM that it is about, for attach and detach.
    pub vm_id: Option<String>,
    /// What was asked, as it was asked.
    pub request: Value,
    /// What came of it, once completed. An attach carries `device_path` and `message`.
    pub response: Option<Value>,
    /// Why it failed, or what it waits for while it runs: one sentence.
    pub error: Option<String>,
    /// The closed code that goes with `error`.
    pub error_code: Option<ErrorCode>,
    /// What a person can do about `error`.
    pub error_hint: Option<String>,
    /// Whether somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Who asked for it.
    pub actor: String,
    /// The request that started it.
    pub request_id: Option<String>,
    /// The steps so far, oldest first; only in the answer for a single operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
    /// When it was recorded.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When its record last changed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    /// When it ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub completed_at: Option<Timestamp>,
}

impl Operation {
    /// The typed response of a completed attach or correlate, or of an adoption that took an attachment over; `None` for
    /// anything else.
    #[must_use]
    pub fn attach_response(&self) -> Option<AttachResponse> {
        let fits = matches!(
            self.kind,
            OperationKind::Attach | OperationKind::Correlate | OperationKind::Adopt
        );
        let response = self.response.as_ref().filter(|_| fits)?;
        serde_json::from_value(response.clone()).ok()
    }
}

/// The response of a completed attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachResponse {
    /// The device as it was observed when it was bound. Ask `GET …/device` again before each use.
    pub device_path: String,
    /// One sentence for people.
    pub message: String,
    /// The size that the kernel reported, in bytes.
    pub size_bytes: u64,
    /// The incarnation that was bound.
    pub diskseq: Option<u64>,
}

/// How a step of an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Recorded as started; its end is not recorded.
    Started,
    /// Its effect is there.
    Done,
    /// It failed.
    Failed,
    /// Its undoing is recorded as started.
    Undoing,
    /// It was undone.
    Undone,
}

/// One line of an operation's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepRecord {
    /// The step.
    pub step: String,
    /// How it stands.
    pub state: StepState,
    /// What was observed, or why it failed.
    pub detail: Option<String>,
    /// When this was recorded.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}
