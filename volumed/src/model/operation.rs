//! An operation: what is asked, how it stands, why it failed, and the lines of its journal.

use serde::{Deserialize, Serialize};

use super::text::text_enum;
use super::{SnapshotId, SourceDisk};

text_enum! {
    /// What an operation does.
    OperationKind ("operation kind") {
        /// Create a volume.
        Create = "create",
        /// Attach it here and bind its device.
        Attach = "attach",
        /// Detach it.
        Detach = "detach",
        /// Delete it.
        Delete = "delete",
        /// Make it larger.
        Resize = "resize",
        /// Bind the device of an attached volume anew.
        Correlate = "correlate",
        /// Take a snapshot.
        SnapshotCreate = "snapshot_create",
        /// Put the volume back to a snapshot.
        SnapshotRevert = "snapshot_revert",
        /// Delete a snapshot.
        SnapshotDelete = "snapshot_delete",
        /// Make a record of a volume that the cloud has.
        Adopt = "adopt",
    }
}

text_enum! {
    /// How an operation stands.
    OperationStatus ("operation status") {
        /// Recorded, not started.
        Pending = "pending",
        /// Being done or undone.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Undone, with a reason.
        Failed = "failed",
        /// Undone because somebody asked.
        Cancelled = "cancelled",
    }
}

impl OperationStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

text_enum! {
    /// How a line of the journal says that a step stands.
    StepState ("step state") {
        /// About to run: from here on it may have run.
        Started = "started",
        /// Its effect is there.
        Done = "done",
        /// It was given up; its effect may be there in part until it is undone.
        Failed = "failed",
        /// About to be undone.
        Undoing = "undoing",
        /// Its effect is no longer there.
        Undone = "undone",
    }
}

/// What is asked of an operation, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Create a volume.
    Create {
        /// Its name.
        name: String,
        /// Its size, already rounded to the provider's unit.
        size_bytes: u64,
        /// The source disk that it is for.
        source: Option<SourceDisk>,
    },
    /// Attach to a VM.
    Attach {
        /// The VM.
        vm_id: String,
    },
    /// Detach.
    Detach {},
    /// Delete.
    Delete {
        /// The volume's name, where the caller confirmed that its data go too.
        confirm_name: Option<String>,
    },
    /// Make larger.
    Resize {
        /// The new size.
        size_bytes: u64,
    },
    /// Bind anew.
    Correlate {},
    /// Take a snapshot.
    SnapshotCreate {
        /// The snapshot's id, chosen at admission.
        snapshot_id: SnapshotId,
        /// Its name.
        name: String,
    },
    /// Put back.
    SnapshotRevert {
        /// To which snapshot.
        snapshot_id: SnapshotId,
    },
    /// Delete a snapshot.
    SnapshotDelete {
        /// Which.
        snapshot_id: SnapshotId,
    },
    /// Make a record of a volume that the cloud has.
    Adopt {
        /// The provider's own id of it.
        provider_volume_id: String,
        /// The name that it is to have here.
        name: String,
        /// Its size when it was asked for.
        size_bytes: u64,
        /// Whether it was attached here then: that attachment is taken over.
        attached: bool,
    },
}

impl Request {
    /// The kind of operation that does it.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        match self {
            Request::Create { .. } => OperationKind::Create,
            Request::Attach { .. } => OperationKind::Attach,
            Request::Detach {} => OperationKind::Detach,
            Request::Delete { .. } => OperationKind::Delete,
            Request::Resize { .. } => OperationKind::Resize,
            Request::Correlate {} => OperationKind::Correlate,
            Request::SnapshotCreate { .. } => OperationKind::SnapshotCreate,
            Request::SnapshotRevert { .. } => OperationKind::SnapshotRevert,
            Request::SnapshotDelete { .. } => OperationKind::SnapshotDelete,
            Request::Adopt { .. } => OperationKind::Adopt,
        }
    }
}

/// Why a request is refused or an operation failed: a closed code, a sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The closed code, as the API knows it.
    pub code: volume_client::types::ErrorCode,
    /// One sentence.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// Whether the operation ends as cancelled rather than failed.
    pub cancelled: bool,
}

impl Failure {
    /// A failure with a code and a sentence.
    pub fn new(code: volume_client::types::ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            cancelled: false,
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    /// The step.
    pub step: String,
    /// How it stands.
    pub state: StepState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_request_is_read_as_it_was_written() {
        let request = Request::SnapshotRevert {
            snapshot_id: SnapshotId::new(),
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        let kind = serde_json::to_value(&request).unwrap()["type"].clone();
        assert_eq!(kind, request.kind().as_str());
    }
}
