//! A machine as callers of the discovery know it: the contract of SPEC B1, to the letter.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{DiskSpec, MachineSpec, NetworkSpec};

/// A machine. What is not known is empty, never missing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Machine)]
pub(super) struct Vm {
    /// The source's own id of it.
    id: String,
    name: String,
    /// Where it is in its source: `/DC/vm/web`.
    path: String,
    datacenter: String,
    num_cpu: u32,
    /// The same as `num_cpu`.
    cpus: u32,
    /// In MiB.
    memory_mb: u64,
    /// `poweredOn`, `poweredOff` or `suspended`.
    power_state: String,
    guest_os: String,
    vmx_version: String,
    disks: Vec<Disk>,
    networks: Vec<Network>,
    /// Why it cannot be replicated as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A disk of a machine, in the order in which the machine sees them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MachineDisk)]
struct Disk {
    id: String,
    path: String,
    /// In GiB, rounded up.
    size_gb: u64,
    capacity_bytes: u64,
    datastore: String,
    label: String,
    provisioning_type: String,
}

/// A network card of a machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MachineNetwork)]
struct Network {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    connected: bool,
    mac_address: String,
    label: String,
    network_name: String,
    adapter_type: String,
}

impl From<MachineSpec> for Vm {
    fn from(machine: MachineSpec) -> Self {
        Self {
            id: machine.id,
            name: machine.name,
            path: machine.path,
            datacenter: machine.datacenter.unwrap_or_default(),
            num_cpu: machine.cpus,
            cpus: machine.cpus,
            memory_mb: machine.memory_mb,
            power_state: machine.power_state.unwrap_or_default(),
            guest_os: machine.guest_os.unwrap_or_default(),
            vmx_version: machine.hardware_version.unwrap_or_default(),
            disks: machine.disks.into_iter().map(Disk::from).collect(),
            networks: machine.networks.into_iter().map(Network::from).collect(),
            problem: machine.problem,
            notes: machine.notes,
        }
    }
}

impl From<DiskSpec> for Disk {
    fn from(disk: DiskSpec) -> Self {
        Self {
            size_gb: disk.size_gb().unwrap_or_default(),
            capacity_bytes: disk.capacity_bytes.unwrap_or_default(),
            id: disk.id,
            path: disk.path.unwrap_or_default(),
            datastore: disk.datastore.unwrap_or_default(),
            label: disk.label,
            provisioning_type: disk.provisioning,
        }
    }
}

impl From<NetworkSpec> for Network {
    fn from(network: NetworkSpec) -> Self {
        let name = network.network_name.unwrap_or_default();
        Self {
            name: name.clone(),
            kind: network.network_type,
            connected: network.is_connected,
            mac_address: network.mac_address.unwrap_or_default(),
            label: network.label,
            network_name: name,
            adapter_type: network.adapter_type,
        }
    }
}
