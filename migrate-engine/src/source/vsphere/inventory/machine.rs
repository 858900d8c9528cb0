//! A virtual machine as its vCenter describes it.

use super::super::VsphereError;
use super::super::snapshot::SnapshotNode;
use super::{Disk, NetworkCard};

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id, `vm-57`.
    pub id: String,
    /// Its name as people wrote it.
    pub name: String,
    /// Where it is: `/DC/vm/folder/name`. In a path, `/` of a name stays `%2f`.
    pub path: String,
    /// The datacenter's name.
    pub datacenter: Option<String>,
    /// The datacenter's path without its first `/`, as `/folder` wants it (`dcPath`).
    pub datacenter_path: Option<String>,
    /// The host that it is on.
    pub host: Option<String>,
    /// `poweredOn`, `poweredOff` or `suspended`.
    pub power_state: Option<String>,
    /// `connected`; `inaccessible`, `orphaned`, `disconnected` or `invalid` explain why it has no configuration.
    pub connection_state: Option<String>,
    /// Whether it could track changes, by its hardware.
    pub change_tracking_supported: Option<bool>,
    /// Whether there are links of disks that no snapshot needs: consolidate them before a copy.
    pub needs_consolidation: bool,
    /// Its snapshots, as a tree.
    pub snapshots: Vec<SnapshotNode>,
    /// Its configuration; `None` where it cannot be read now.
    pub config: Option<MachineConfig>,
}

/// The configuration of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineConfig {
    /// Unique within a vCenter.
    pub instance_uuid: Option<String>,
    /// What the guest sees.
    pub bios_uuid: Option<String>,
    /// Virtual processors.
    pub num_cpu: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// The operating system by its name, such as `Debian GNU/Linux 12 (64-bit)`.
    pub guest_os: Option<String>,
    /// The operating system by its id, such as `debian12_64Guest`.
    pub guest_id: Option<String>,
    /// The hardware's version, `vmx-19`.
    pub vmx_version: Option<String>,
    /// The file of the configuration, `[datastore] folder/file.vmx`.
    pub vmx_path: Option<String>,
    /// What it boots with.
    pub firmware: Firmware,
    /// Whether it is a template.
    pub is_template: bool,
    /// Whether its files are encrypted.
    pub is_encrypted: bool,
    /// Whether it is to track changes. Each disk says whether it does.
    pub change_tracking: bool,
    /// Its disks, in the order of their keys.
    pub disks: Vec<Disk>,
    /// Its network cards, in the order of their keys.
    pub networks: Vec<NetworkCard>,
}

/// What a machine boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// The PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

impl Machine {
    /// Its configuration.
    ///
    /// # Errors
    /// [`VsphereError::MachineIncomplete`].
    pub fn config(&self) -> Result<&MachineConfig, VsphereError> {
        self.config
            .as_ref()
            .ok_or_else(|| VsphereError::MachineIncomplete {
                machine: self.path.clone(),
                why: match self.connection_state.as_deref() {
                    None | Some("connected") => "the vCenter shows none".to_owned(),
                    Some(state) => format!("it is {state}"),
                },
            })
    }

    /// Its disks, if each of them can be copied.
    ///
    /// # Errors
    /// [`VsphereError::MachineIncomplete`], [`VsphereError::NoDisk`], or [`VsphereError::Disk`] of the first one that
    /// cannot.
    pub fn copyable_disks(&self) -> Result<&[Disk], VsphereError> {
        let disks = &self.config()?.disks;
        if disks.is_empty() {
            return Err(VsphereError::NoDisk {
                machine: self.path.clone(),
            });
        }
        match disks.iter().find_map(|disk| Some((disk, disk.problem()?))) {
            None => Ok(disks),
            Some((disk, problem)) => Err(VsphereError::Disk {
                machine: self.path.clone(),
                disk: disk.label.clone(),
                problem,
            }),
        }
    }

    /// All its snapshots, parents before children.
    #[must_use]
    pub fn all_snapshots(&self) -> Vec<&SnapshotNode> {
        SnapshotNode::walk(&self.snapshots)
    }

    /// The version of its hardware as a number: 19 of `vmx-19`.
    #[must_use]
    pub fn hardware_version(&self) -> Option<u32> {
        let version = self.config.as_ref()?.vmx_version.as_deref()?;
        version.strip_prefix("vmx-")?.parse().ok()
    }
}
