//! What the operations module shows of devices and conditions to those who may not ask the kernel themselves.

use jiff::Timestamp;
use volume_client::types::ConditionKind;

use crate::model::VolumeId;
use crate::store::Observation;

/// A volume's device, verified against the kernel for this very answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDevice {
    /// The volume.
    pub volume_id: VolumeId,
    /// What the kernel said, through the descriptor that the daemon holds.
    pub observed: Observation,
    /// The VM.
    pub vm_id: String,
    /// Which attachment of the volume it is.
    pub generation: u64,
    /// When it was attached.
    pub attached_at: Timestamp,
    /// When the kernel was asked.
    pub verified_at: Timestamp,
}

/// A device of this machine and the volume that is mapped to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Its node.
    pub device_path: String,
    /// Its number, `major:minor`.
    pub devnum: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Its identity.
    pub identity: Option<String>,
    /// Which disk since boot it is.
    pub diskseq: Option<u64>,
    /// Who holds it inside the kernel.
    pub holders: Vec<String>,
    /// The volume that is mapped to it.
    pub volume_id: Option<VolumeId>,
}

/// Something that is not as it should be with a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionRecord {
    /// The volume.
    pub volume_id: VolumeId,
    /// Its kind.
    pub kind: ConditionKind,
    /// Since when.
    pub since: Timestamp,
    /// What was observed.
    pub reason: String,
    /// What to do.
    pub hint: String,
}
