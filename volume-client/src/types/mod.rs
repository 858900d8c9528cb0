//! What travels between volumed and its callers, one file per resource.

mod audit;
mod condition;
mod device;
mod doctor;
mod event;
mod explanation;
mod finding;
mod ids;
mod lease;
mod operation;
mod page;
mod problem;
mod snapshot;
mod status;
mod token;
mod volume;

pub use audit::AuditLine;
pub use condition::{Condition, ConditionKind};
pub use device::{Device, DeviceUse, Mapping, VolumeDevice};
pub use doctor::{CheckArea, CheckStatus, DoctorCheck, DoctorReport};
pub use event::{Event, EventKind};
pub use explanation::Explanation;
pub use finding::{
    Finding, FindingKind, FindingRepair, IgnoreFinding, Ignored, PlannedRepair, ReconcileReport,
    ReconcileRequest, RepairStarted, RepairStatus, Severity,
};
pub use ids::{FindingId, FindingIdParseError, IdParseError, LeaseId, OperationId, SnapshotId, VolumeId};
pub use lease::{Lease, LeaseAccess, LeaseGrant, LeasePurpose, NewLease, RenewLease};
pub use operation::{AttachResponse, Operation, OperationKind, OperationStatus, StepRecord, StepState};
pub use page::{Cursor, Page};
pub use problem::{ErrorCode, Problem};
pub use snapshot::{NewSnapshot, Snapshot, SnapshotState};
pub use status::{Check, Counts, Readiness, Status};
pub use token::{
    IntrospectToken, Introspection, NewToken, RotateToken, Secret, Token, TokenGrant, TokenScope,
};
pub use volume::{
    AdoptVolume, AttachVolume, Attachment, AttachmentState, NewVolume, ResizeVolume, SourceDisk, Volume,
    VolumeState,
};
