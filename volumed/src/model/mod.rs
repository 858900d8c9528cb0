//! Data and pure transitions of volumes, attachments and operations: no I/O, no clock.

mod bytes;
mod check;
mod cloud_name;
mod identity;
mod operation;
mod scope;
mod text;
mod volume;

pub use bytes::Bytes;
pub use check::{Check, CheckStatus, Room};
pub use cloud_name::{cloud_name, volume_of_cloud_name};
pub use identity::{DevNum, Identity, IdentityParseError, Incarnation, diskseq_text};
pub use operation::{Failure, JournalLine, OperationKind, OperationStatus, Request, StepState};
pub use scope::Scope;
pub use text::UnknownText;
pub use volume::{
    AttachmentState, DeviceExpectation, EventKind, FindingId, LeaseAccess, LeaseId, LeasePurpose,
    OperationId, SnapshotId, SnapshotState, SourceDisk, VolumeId, VolumeState,
};
pub use volume_client::types::ErrorCode;
