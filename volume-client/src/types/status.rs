//! The daemon's own state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Finding, Operation};

/// One thing that must work before the daemon takes work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// Its name: `store`, `cloud`, `watcher`, `recovery`.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// Whether every check is good.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Volumes with a record that is not deleted.
    pub volumes: u64,
    /// Volumes with a live mapping.
    pub mapped: u64,
    /// Devices that are held open.
    pub pinned: u64,
    /// Leases that were not released.
    pub leases: u64,
    /// Operations that wait or run.
    pub open_operations: u64,
}

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The provider that keeps the volumes.
    pub provider: String,
    /// The VM that this daemon runs in: the only one that it attaches to.
    pub vm_id: String,
    /// The present boot.
    pub boot_id: String,
    /// When the daemon started.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub started_at: Timestamp,
    /// Whether it is ready, and why not.
    pub readiness: Readiness,
    /// How much there is.
    pub counts: Counts,
    /// The operations that wait or run, with what they wait for.
    pub operations: Vec<Operation>,
    /// Where the views do not agree.
    pub findings: Vec<Finding>,
}
