//! A volume explained: what each view says of it, what goes on, and what comes next.

use serde::{Deserialize, Serialize};

use super::{Finding, Lease, Operation, Volume};

/// `GET /api/v1/volumes/{id}/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The volume, with its conditions.
    pub volume: Volume,
    /// What the record says.
    pub record: String,
    /// What the cloud says now.
    pub cloud: String,
    /// What the kernel shows now.
    pub kernel: String,
    /// Who uses its device now, beside the daemon; `None` where there is no device to look at, or it cannot be told.
    pub used_by: Option<Vec<String>>,
    /// The operation that is under way on it, with its steps, or else its latest one.
    pub operation: Option<Operation>,
    /// The leases on it that have not ended.
    pub leases: Vec<Lease>,
    /// Where the views do not agree about it.
    pub findings: Vec<Finding>,
    /// One sentence: what happens next, or what a person has to do, and why.
    pub next: String,
}
