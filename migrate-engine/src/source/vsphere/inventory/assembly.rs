//! Puts machines together from their properties and what is around them.

use super::super::entity_name::decoded;
use super::super::properties::Object;
use super::super::snapshot::SnapshotNode;
use super::super::soap::Element;
use super::machine::{Firmware, Machine, MachineConfig};
use super::places::{Place, Places};
use super::{device, network, tracking};

/// Large, and only asked for of machines that were asked for by name.
pub(super) const SETTINGS: &str = "config.extraConfig";

/// A machine's name as the vCenter writes it, and its place.
pub(super) fn placed(object: &Object, places: &Places) -> (String, Place) {
    let name = object.text("name").unwrap_or(&object.reference.id).to_owned();
    let parent = object
        .reference("parent")
        .or_else(|| object.reference("parentVApp"));
    let place = places.place(&name, parent.as_ref().map(|parent| parent.id.as_str()));
    (name, place)
}

/// Puts a machine together.
pub(super) fn machine(object: &Object, places: &Places) -> Machine {
    let (name, place) = placed(object, places);
    let text = |path| object.text(path).map(str::to_owned);
    let host = object.reference("runtime.host");
    Machine {
        id: object.reference.id.clone(),
        name: decoded(&name),
        path: place.path,
        datacenter: place.datacenter,
        datacenter_path: place.datacenter_path,
        host: host.and_then(|host| places.host(&host.id)),
        power_state: text("runtime.powerState"),
        connection_state: text("runtime.connectionState"),
        change_tracking_supported: object.flag("capability.changeTrackingSupported"),
        needs_consolidation: object.flag("runtime.consolidationNeeded").unwrap_or(false),
        snapshots: object.get("snapshot").map(SnapshotNode::tree).unwrap_or_default(),
        config: object
            .get("config.hardware")
            .map(|hardware| config(object, hardware, places)),
    }
}

fn config(object: &Object, hardware: &Element, places: &Places) -> MachineConfig {
    let text = |path| object.text(path).map(str::to_owned);
    let change_tracking = object.flag("config.changeTrackingEnabled").unwrap_or(false);
    let mut disks = device::disks(hardware, places);
    tracking::mark(&mut disks, change_tracking, hardware, object.get(SETTINGS));
    MachineConfig {
        instance_uuid: text("config.instanceUuid"),
        bios_uuid: text("config.uuid"),
        num_cpu: hardware.child_number("numCPU").unwrap_or_default(),
        memory_mb: hardware.child_number("memoryMB").unwrap_or_default(),
        guest_os: text("config.guestFullName"),
        guest_id: text("config.guestId"),
        vmx_version: text("config.version"),
        vmx_path: text("config.files.vmPathName"),
        firmware: match object.text("config.firmware") {
            Some("efi") => Firmware::Efi,
            _ => Firmware::Bios,
        },
        is_template: object.flag("config.template").unwrap_or(false),
        is_encrypted: object.get("config.keyId").is_some(),
        change_tracking,
        disks,
        networks: network::cards(hardware, places),
    }
}
