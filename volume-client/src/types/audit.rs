//! The audit trail: who did what and why, with before and after.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OperationId, VolumeId};

/// One line of the audit trail. Lines are never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLine {
    /// Its number; later lines have larger ones.
    pub id: u64,
    /// When it was done.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// The volume that it is about.
    pub volume_id: Option<VolumeId>,
    /// The operation that it belongs to.
    pub operation_id: Option<OperationId>,
    /// Why, with the evidence.
    pub why: Option<String>,
    /// What stood before.
    pub before: Option<String>,
    /// What stands after.
    pub after: Option<String>,
}
