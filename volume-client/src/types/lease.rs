//! Leases: who uses a volume's device, for what, and until when that is believed without a sign of life.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LeaseId, VolumeDevice, VolumeId};

/// What the device is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeasePurpose {
    /// Served over NBD.
    Export,
    /// Written or read by a transfer.
    Transfer,
    /// Changed by a guest conversion.
    Conversion,
    /// Looked at by a person or a tool.
    Inspection,
}

/// How the device is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseAccess {
    /// Only read.
    Read,
    /// Written. A volume has at most one writer.
    Write,
}

/// A lease on a volume's device. While it lives, detach, delete, resize and revert are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The volume.
    pub volume_id: VolumeId,
    /// What it is for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it, for people: program, host, process.
    pub holder: String,
    /// More about it: the name of the export, the job.
    pub detail: Option<String>,
    /// When it was taken.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub acquired_at: Timestamp,
    /// Until when it is believed without a renewal. Past that it still counts until the kernel shows that
    /// nobody has the device open.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// Whether `expires_at` has passed.
    pub expired: bool,
}

/// `POST /api/v1/leases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewLease {
    /// The volume.
    pub volume_id: VolumeId,
    /// What it is for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it, for people (1 to 200 characters).
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,200}$"))]
    pub holder: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{0,1000}$"))]
    pub detail: Option<String>,
    /// Seconds until it must be renewed, 5 to 86400; 60 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 5, maximum = 86400))]
    pub ttl_seconds: Option<u32>,
}

/// `POST /api/v1/leases/{id}/renew`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewLease {
    /// Seconds from now until it must be renewed again; as at first where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 5, maximum = 86400))]
    pub ttl_seconds: Option<u32>,
}

/// The answer to a new lease: the lease, and the device verified for this very answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseGrant {
    /// The lease.
    pub lease: Lease,
    /// The device.
    pub device: VolumeDevice,
    /// Whether the volume still reads as zeroes throughout: true only for the first writer of a fresh volume.
    pub known_zero: bool,
}
