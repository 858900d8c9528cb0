//! A vCenter's machine in the words that all sources share. Pure.

use super::super::{Disk, Firmware, Machine, NetworkCard};
use super::judge::{Way, readable};
use crate::model::{DiskSpec, MachineSpec, NetworkSpec};

pub(super) fn of(machine: &Machine, way: Way) -> MachineSpec {
    let place = MachineSpec {
        id: machine.id.clone(),
        name: machine.name.clone(),
        path: machine.path.clone(),
        datacenter: machine.datacenter.clone(),
        host: machine.host.clone(),
        power_state: machine.power_state.clone(),
        problem: readable(machine, way).err().map(|error| error.to_string()),
        notes: notes(machine),
        ..MachineSpec::default()
    };
    let Some(config) = &machine.config else {
        return place;
    };
    MachineSpec {
        cpus: config.num_cpu,
        memory_mb: config.memory_mb,
        guest_os: config.guest_os.clone().or_else(|| config.guest_id.clone()),
        hardware_version: config.vmx_version.clone(),
        firmware: Some(
            match config.firmware {
                Firmware::Bios => "bios",
                Firmware::Efi => "efi",
            }
            .to_owned(),
        ),
        disks: config.disks.iter().map(disk).collect(),
        networks: config.networks.iter().map(network).collect(),
        ..place
    }
}

fn disk(disk: &Disk) -> DiskSpec {
    DiskSpec {
        id: disk.id.clone(),
        path: disk.path.clone(),
        capacity_bytes: disk.capacity_bytes,
        datastore: disk.datastore.clone(),
        label: disk.label.clone(),
        provisioning: disk.provisioning.to_string(),
    }
}

fn network(card: &NetworkCard) -> NetworkSpec {
    NetworkSpec {
        label: card.label.clone(),
        network_name: card.network_name.clone(),
        network_type: card.network_type.to_owned(),
        adapter_type: card.adapter_type.clone(),
        mac_address: card.mac_address.clone(),
        is_connected: card.is_connected,
    }
}

fn notes(machine: &Machine) -> Vec<String> {
    let mut notes = Vec::new();
    if machine.config.as_ref().is_some_and(|config| config.is_template) {
        notes.push("it is a template".to_owned());
    }
    let names: Vec<_> = machine
        .all_snapshots()
        .iter()
        .map(|node| node.name.clone())
        .collect();
    if !names.is_empty() {
        notes.push(format!("it has snapshots: {}", names.join(", ")));
    }
    if machine.needs_consolidation {
        notes.push("its disks need consolidation".to_owned());
    }
    if machine.change_tracking_supported == Some(false) {
        notes.push("it cannot track changes: every cycle reads it whole".to_owned());
    }
    notes
}
