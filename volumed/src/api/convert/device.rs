//! Devices, mappings, and the verified answer.

use volume_client::types::{Device, Mapping, VolumeDevice};

use crate::operation::{DeviceView, VerifiedDevice};
use crate::store::MappingRecord;

/// A device of this machine.
pub(in crate::api) fn view(device: DeviceView) -> Device {
    Device {
        device_path: device.device_path,
        devnum: device.devnum,
        size_bytes: device.size_bytes,
        read_only: device.read_only,
        identity: device.identity,
        diskseq: device.diskseq,
        holders: device.holders,
        volume_id: device.volume_id,
    }
}

/// A volume's device, verified for this very answer.
pub(in crate::api) fn verified(device: VerifiedDevice) -> VolumeDevice {
    let observed = device.observed;
    VolumeDevice {
        volume_id: device.volume_id,
        device_path: observed.device_path,
        vm_id: device.vm_id,
        attached_at: device.attached_at,
        devnum: observed.devnum,
        size_bytes: observed.size.0,
        identity: observed.identity.to_string(),
        diskseq: observed.diskseq,
        boot_id: observed.boot_id,
        generation: device.generation,
        verified_at: device.verified_at,
    }
}

/// A mapping as it is recorded.
pub(in crate::api) fn mapping(record: MappingRecord, vm_id: String, pinned: bool) -> Mapping {
    let observed = record.observed;
    Mapping {
        volume_id: record.volume_id,
        identity: observed.identity.to_string(),
        device_path: observed.device_path,
        devnum: observed.devnum,
        diskseq: observed.diskseq,
        boot_id: observed.boot_id,
        size_bytes: observed.size.0,
        vm_id,
        pinned,
        bound_at: record.bound_at,
    }
}
