//! Findings: where the cloud, the kernel and the records do not agree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FindingId, Operation, OperationId, VolumeId};

/// What a finding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The cloud has a volume attached here that has no record as attached, or no record at all.
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
    /// A device is here that belongs to no volume that the records or the cloud know.
    ForeignDevice,
    /// The cloud has a volume of a name of ours that no record is of: its record was lost.
    Unrecorded,
    /// The cloud is at work on the volume, or does not get rid of it, for longer than that takes.
    StuckInCloud,
    /// A lease was not renewed in time, and nobody uses the device: its holder died.
    LeaseAbandoned,
    /// Somebody uses the device while no lease on it lives: an export that outlived its lease, say.
    UsedWithoutLease,
    /// The database was restored, and the volume was not compared with cloud and kernel since: nothing is changed about it.
    Unproven,
}

/// What mends a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingRepair {
    /// Binding the device anew, or recording that the volume is detached. The daemon does it by itself.
    Correlate,
    /// Ending the leases whose holders died. The daemon does it by itself.
    EndLeases,
    /// Taking over the attachment that the cloud has. The daemon does it when it is asked to.
    Attach,
    /// Making a record of the volume, under a name that a person gives it.
    Adopt,
}

/// Who wants a finding to be passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ignored {
    /// Who.
    pub actor: String,
    /// Why.
    pub why: String,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
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
    /// Its id: the same for as long as it stands, also after a restart of the daemon.
    pub id: FindingId,
    /// What it says.
    #[serde(rename = "type")]
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The volume, where there is one.
    pub volume_id: Option<VolumeId>,
    /// The provider's own id of the volume, where it is about one that has no record.
    pub provider_volume_id: Option<String>,
    /// What the record says.
    pub record: String,
    /// What the cloud says.
    pub cloud: String,
    /// What the kernel says.
    pub kernel: String,
    /// What is proposed, or is being done.
    pub repair: String,
    /// What mends it, where the daemon can; else a person must.
    pub proposal: Option<FindingRepair>,
    /// Who wants it to be passed over. It is listed all the same.
    pub ignored: Option<Ignored>,
    /// The operation that repairs it, if one was submitted.
    pub operation_id: Option<OperationId>,
    /// Since when this run of the daemon has seen it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
}

/// `POST /api/v1/findings/{id}/ignore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IgnoreFinding {
    /// Why it may be passed over: 1 to 500 characters.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,500}$"))]
    pub why: String,
}

/// What came of `POST /api/v1/findings/{id}/repair`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepairStarted {
    /// The finding.
    pub finding_id: FindingId,
    /// What is done about it.
    pub repair: FindingRepair,
    /// The operation that does it; `None` where it is done already.
    pub operation: Option<Operation>,
    /// One sentence for people.
    pub message: String,
}

/// `POST /api/v1/reconcile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReconcileRequest {
    /// Whether only to look: nothing is submitted and nothing recorded.
    #[serde(default)]
    pub dry_run: bool,
}

/// What one comparison of the views found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconcileReport {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Whether the cloud answered. Where it did not, nothing was concluded about what it has.
    pub cloud_answered: bool,
    /// What does not agree, what has not stood for long included.
    pub findings: Vec<Finding>,
    /// The repairs that the daemon makes by itself, and how each stands.
    pub repairs: Vec<PlannedRepair>,
}

/// A repair that the daemon makes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlannedRepair {
    /// The finding that it mends.
    pub finding_id: FindingId,
    /// The volume.
    pub volume_id: Option<VolumeId>,
    /// What is done.
    pub repair: FindingRepair,
    /// How it stands.
    pub status: RepairStatus,
    /// The operation that does it.
    pub operation_id: Option<OperationId>,
    /// One sentence for people.
    pub message: String,
}

/// How a repair stands that the daemon makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RepairStatus {
    /// It is due, and would be begun but for the dry run.
    Due,
    /// It was begun now, or is done.
    Begun,
    /// Its finding must stand a little longer, or an earlier try a little longer ago.
    Waits,
    /// It was refused.
    Refused,
}
