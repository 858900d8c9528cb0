//! Volumes: what they are, how one is asked for, and how it is attached.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Condition, OperationId, VolumeId};

/// Where a volume is in its life (the states of OpenStack Cinder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VolumeState {
    /// Asked for, not yet there.
    Creating,
    /// There, attached to nothing.
    Available,
    /// Being attached.
    Attaching,
    /// Attached, with a verified device.
    InUse,
    /// Being detached.
    Detaching,
    /// Being made larger.
    Extending,
    /// Being deleted.
    Deleting,
    /// Something went wrong that a person must look at; `conditions` and the last operation say what.
    Error,
}

/// The disk of a source VM whose copy a volume holds. A source disk has at most one volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceDisk {
    /// The VM, as its own platform names it.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,255}$"))]
    pub vm: String,
    /// The disk of that VM.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,255}$"))]
    pub disk: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Volume {
    /// Its id here.
    pub id: VolumeId,
    /// Its name, for people.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where it is in its life.
    pub state: VolumeState,
    /// The provider that keeps it (`local`, `cloudstack`).
    pub provider: String,
    /// The provider's own id for it, once it has one.
    pub provider_volume_id: Option<String>,
    /// The source disk whose copy it holds or will hold.
    pub source: Option<SourceDisk>,
    /// Its present attachment, if any.
    pub attachment: Option<Attachment>,
    /// Whether its device was ever handed out: it may hold copied data, and is deleted only by name.
    pub handed_out: bool,
    /// Whether a volume of this provider reads as zeroes until it is first written, and it was not handed out yet.
    pub known_zero: bool,
    /// The operation that is under way on it, if any.
    pub operation_id: Option<OperationId>,
    /// What is not as it should be.
    pub conditions: Vec<Condition>,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When its record last changed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
}

/// Where an attachment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttachmentState {
    /// Reserved; the device is not verified yet.
    Attaching,
    /// Attached, device bound.
    Attached,
    /// Being detached: the device is no longer handed out.
    Detaching,
}

/// A volume's attachment to a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// The VM.
    pub vm_id: String,
    /// Which attachment of this volume it is: grows by one with each.
    pub generation: u64,
    /// Where it is in its life.
    pub state: AttachmentState,
    /// When the device was bound.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub attached_at: Option<Timestamp>,
}

/// `POST /api/v1/volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewVolume {
    /// A name for people: 1 to 128 characters of letters, digits, space and `._-`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9 ._-]{1,128}$"))]
    pub name: String,
    /// The size in bytes; the provider rounds it up to its unit.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9223372036854775807_u64))]
    pub size_bytes: u64,
    /// The source disk that it is for. A second volume for the same source disk is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceDisk>,
}

/// `POST /api/v1/volumes/adopt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AdoptVolume {
    /// The provider's own id of the volume.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,200}$"))]
    pub provider_volume_id: String,
    /// A name for people: 1 to 128 characters of letters, digits, space and `._-`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9 ._-]{1,128}$"))]
    pub name: String,
}

/// `POST /api/v1/volumes/{id}/attach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AttachVolume {
    /// The VM to attach to: the one that this daemon runs in (`GET /api/v1/status` tells its id).
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"))]
    pub vm_id: String,
}

/// `POST /api/v1/volumes/{id}/resize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResizeVolume {
    /// The new size in bytes, never smaller than the present one.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9223372036854775807_u64))]
    pub size_bytes: u64,
}
