//! A virtual machine as its source describes it, whatever kind of source that is.

use serde::{Deserialize, Serialize};

/// A virtual machine. Kept in the engine's records as the latest that was known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineSpec {
    /// The source's own id of it: `vm-57`.
    pub id: String,
    /// Its name as people wrote it.
    pub name: String,
    /// Where it is in its source: `/DC/vm/web`. Stays the same as long as nobody moves it.
    pub path: String,
    /// The datacenter's name.
    pub datacenter: Option<String>,
    /// The host that it runs on, by the source's own id.
    pub host: Option<String>,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// `poweredOn`, `poweredOff` or `suspended`.
    pub power_state: Option<String>,
    /// The operating system by its name.
    pub guest_os: Option<String>,
    /// The version of its hardware, `vmx-19`.
    pub hardware_version: Option<String>,
    /// What it boots with: `bios` or `efi`.
    pub firmware: Option<String>,
    /// Its disks, in the order in which the machine sees them.
    pub disks: Vec<DiskSpec>,
    /// Its network cards, in order.
    pub networks: Vec<NetworkSpec>,
    /// Why it cannot be copied now, where it cannot.
    pub problem: Option<String>,
    /// What a person should know, one sentence each.
    pub notes: Vec<String>,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskSpec {
    /// The same for the same disk as long as it stays in its machine: `disk-2000`.
    pub id: String,
    /// Which file it is: `[datastore] folder/file.vmdk`.
    pub path: Option<String>,
    /// Its size in bytes, where the source tells it.
    pub capacity_bytes: Option<u64>,
    /// The datastore's name.
    pub datastore: Option<String>,
    /// What people call it: `Hard disk 1`.
    pub label: String,
    /// `thin`, `thick`, `thick_eager_zeroed` or `unknown`.
    pub provisioning: String,
}

/// A network card of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// What people call it: `Network adapter 1`.
    pub label: String,
    /// The network's name.
    pub network_name: Option<String>,
    /// The kind of network: `standard`, `distributed`, `opaque` or `unknown`.
    pub network_type: String,
    /// The kind of card: `Vmxnet3`.
    pub adapter_type: String,
    /// Its address.
    pub mac_address: Option<String>,
    /// Whether it is connected now, or will be when the machine is turned on.
    pub is_connected: bool,
}

impl DiskSpec {
    /// Its size in GiB, rounded up.
    #[must_use]
    pub fn size_gb(&self) -> Option<u64> {
        self.capacity_bytes.map(|bytes| bytes.div_ceil(1 << 30))
    }
}
