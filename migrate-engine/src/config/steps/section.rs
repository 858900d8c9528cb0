//! The sections of the configuration, and how each is called in the file.

use std::fmt;

/// One key at the top of the file. Prints as that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Step 1: from which platform to which. Absent in files of other programs.
    Platforms,
    /// Step 2: the ESXi host or the vCenter.
    Source,
    /// Step 3: the serial numbers of the machines.
    SelectedVms,
    /// Step 4: the Proxmox VE host, the KVM host.
    Destination,
    /// The storage of Proxmox VE that disks are put on.
    Storage,
    /// The folder of what is exported on the way.
    ExportRoot,
    /// The program `ovftool`.
    Ovftool,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Platforms,
        Self::Source,
        Self::SelectedVms,
        Self::Destination,
        Self::Storage,
        Self::ExportRoot,
        Self::Ovftool,
    ];

    /// Its key in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Platforms => "platforms",
            Self::Source => "source",
            Self::SelectedVms => "selected_vms",
            Self::Destination => "destination",
            Self::Storage => "storage",
            Self::ExportRoot => "export_root",
            Self::Ovftool => "ovftool",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
