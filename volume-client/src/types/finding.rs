//! Findings: where the cloud, the kernel and the records do not agree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OperationId, VolumeId};

/// What a finding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The cloud has a volume attached here that has no record as attached.
    AttachedUnknown,
    /// A recorded volume is gone in the cloud.
    GoneInCloud,
    /// A device of a volume is here though the cloud says that it is detached.
    Phantom,
    /// The cloud says that the volume is attached to another VM.
    AttachedElsewhere,
    /// The recorded mapping no longer fits the kernel.
    MappingStale,
    /// Two devices carry one identity.
    DuplicateIdentity,
    /// The size in the kernel is not the recorded one.
    SizeChanged,
    /// The cloud says that the volume is attached to another VM, and its device is here too: two machines may write.
    DoubleAttached,
    /// The cloud no longer has the volume, but its device is still here.
    LeakedDevice,
    /// Devices are here that belong to no volume that the records or the cloud know.
    ForeignDevice,
    /// The database was restored, and the volume was not compared with cloud and kernel since: nothing is changed about it.
    Unproven,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something does not work as it should.
    Warning,
    /// Data may be at risk.
    Critical,
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// What it says.
    #[serde(rename = "type")]
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The volume, where there is one.
    pub volume_id: Option<VolumeId>,
    /// What the record says.
    pub record: String,
    /// What the cloud says.
    pub cloud: String,
    /// What the kernel says.
    pub kernel: String,
    /// What is proposed, or is being done.
    pub repair: String,
    /// The operation that repairs it, if one was submitted.
    pub operation_id: Option<OperationId>,
    /// Since when it was seen.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
}
