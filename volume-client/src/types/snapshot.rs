//! Snapshots of a volume.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{SnapshotId, VolumeId};

/// Where a snapshot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// Being taken.
    Creating,
    /// There; a volume can be put back to it.
    Ready,
    /// Being deleted.
    Deleting,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume that it was taken of.
    pub volume_id: VolumeId,
    /// Its name, for people.
    pub name: String,
    /// The volume's size when it was taken, in bytes.
    pub size_bytes: u64,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// `POST /api/v1/volumes/{id}/snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    /// A name for people, by the rules of a volume's name.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9 ._-]{1,128}$"))]
    pub name: String,
}
