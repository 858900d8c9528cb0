//! A machine as the service tells it: the contract of discovery.

use serde::Deserialize;

use crate::model::{DiskSpec, MachineSpec};

#[derive(Deserialize)]
pub(super) struct Found {
    vms: Vec<Vm>,
}

/// What people are shown of a machine, and what it is asked for by.
#[derive(Deserialize)]
struct Vm {
    id: String,
    name: String,
    path: String,
    datacenter: String,
    cpus: u32,
    memory_mb: u64,
    power_state: String,
    guest_os: String,
    disks: Vec<Disk>,
    problem: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Disk {
    id: String,
    label: String,
    capacity_bytes: u64,
}

impl Found {
    pub(super) fn machines(self) -> Vec<MachineSpec> {
        self.vms.into_iter().map(MachineSpec::from).collect()
    }
}

impl From<Vm> for MachineSpec {
    fn from(vm: Vm) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: vm.id,
            name: vm.name,
            path: vm.path,
            datacenter: given(vm.datacenter),
            cpus: vm.cpus,
            memory_mb: vm.memory_mb,
            power_state: given(vm.power_state),
            guest_os: given(vm.guest_os),
            disks: vm.disks.into_iter().map(DiskSpec::from).collect(),
            problem: vm.problem,
            notes: vm.notes,
            ..Self::default()
        }
    }
}

impl From<Disk> for DiskSpec {
    fn from(disk: Disk) -> Self {
        Self {
            id: disk.id,
            label: disk.label,
            // What is not known is told as nothing.
            capacity_bytes: Some(disk.capacity_bytes).filter(|bytes| *bytes > 0),
            ..Self::default()
        }
    }
}
