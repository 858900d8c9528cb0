//! Devices as the kernel has them, mappings as they are recorded, and the verified answer that joins the two.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::VolumeId;

/// A block device of this machine, as the last scan of the kernel saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Its node, for people: names are no identity.
    pub device_path: String,
    /// Its device number, `major:minor`.
    pub devnum: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Its identity, if it carries one (`serial:…`, `loop:DEVICE:INODE`).
    pub identity: Option<String>,
    /// Which disk since boot it is.
    pub diskseq: Option<u64>,
    /// Who holds it inside the kernel (device mapper, RAID).
    pub holders: Vec<String>,
    /// The volume that is mapped to it, if any.
    pub volume_id: Option<VolumeId>,
}

/// Who uses a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceUse {
    /// What the use is: `mount`, `holder`, `swap`, `process`.
    pub kind: String,
    /// Where or by whom: a mount point, a device, a process.
    pub by: String,
}

/// A recorded mapping of a volume to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mapping {
    /// The volume.
    pub volume_id: VolumeId,
    /// The identity that is expected.
    pub identity: String,
    /// The node as it was observed when the mapping was bound.
    pub device_path: String,
    /// The device number then, `major:minor`.
    pub devnum: String,
    /// The incarnation that was bound.
    pub diskseq: Option<u64>,
    /// The boot in which it was bound.
    pub boot_id: String,
    /// The size in bytes that the device must have.
    pub size_bytes: u64,
    /// The VM.
    pub vm_id: String,
    /// Whether the daemon holds the device open, so that the kernel cannot give its name away.
    pub pinned: bool,
    /// When it was bound.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub bound_at: Timestamp,
}

/// `GET /api/v1/volumes/{id}/device`: verified against the kernel for this very answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VolumeDevice {
    /// The volume.
    pub volume_id: VolumeId,
    /// Its device. A path is an address at a time: open it, then compare `diskseq`, size and identity on the
    /// descriptor (`VolumedClient::open_device` does).
    pub device_path: String,
    /// The VM.
    pub vm_id: String,
    /// When it was attached.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub attached_at: Timestamp,
    /// Its device number, `major:minor`.
    pub devnum: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its identity.
    pub identity: String,
    /// Which disk since boot it is (`BLKGETDISKSEQ`).
    pub diskseq: Option<u64>,
    /// The boot that `diskseq` belongs to.
    pub boot_id: String,
    /// Which attachment of this volume it is.
    pub generation: u64,
    /// When the kernel was asked.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub verified_at: Timestamp,
}
