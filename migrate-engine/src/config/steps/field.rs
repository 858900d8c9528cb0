//! The keys inside of sections, and what is to be written there.

use super::section::Section;

/// A key of a section, or a section that is one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) section: Section,
    /// Empty where the section is the value.
    pub(super) key: &'static str,
    /// What is to be written, with an example.
    pub(super) write: &'static str,
}

const fn field(section: Section, key: &'static str, write: &'static str) -> Field {
    Field { section, key, write }
}

pub(super) const PLATFORM_SOURCE: Field = field(Section::Platforms, "source", "\"esxi\" or \"vcenter\"");
pub(super) const PLATFORM_TARGET: Field = field(
    Section::Platforms,
    "target",
    "\"cloudstack\", \"proxmox\" or \"kvm\"",
);
pub(super) const ESXI_HOST: Field = field(
    Section::Source,
    "esxi_host",
    "the name or address of the ESXi host or vCenter, such as \"esxi1.example.org\"",
);
pub(super) const ESXI_USER: Field = field(Section::Source, "esxi_user", "the user's name, such as \"root\"");
pub(super) const ESXI_PASS: Field = field(
    Section::Source,
    "esxi_pass",
    "the user's password, in quotation marks",
);
pub(super) const PROXMOX_HOST: Field = field(
    Section::Destination,
    "proxmox_host",
    "the name or address of the Proxmox VE host, such as \"pve1.example.org\"",
);
pub(super) const PROXMOX_USER: Field = field(
    Section::Destination,
    "proxmox_user",
    "the user's name with its realm, such as \"root@pam\"",
);
pub(super) const PROXMOX_PASS: Field = field(
    Section::Destination,
    "proxmox_pass",
    "the user's password, in quotation marks",
);
pub(super) const KVM_HOST: Field = field(
    Section::Destination,
    "kvm_host",
    "the name or address of the KVM host, such as \"kvm1.example.org\"",
);
pub(super) const KVM_USER: Field = field(
    Section::Destination,
    "kvm_user",
    "the user's name, such as \"root\"",
);
pub(super) const KVM_PASS: Field = field(
    Section::Destination,
    "kvm_pass",
    "the user's password, in quotation marks, or \"\" where a key is used",
);
pub(super) const KVM_STORAGE_POOL: Field = field(
    Section::Destination,
    "kvm_storage_pool",
    "the name of the libvirt pool or its folder, such as \"default\"",
);
pub(super) const SELECTED_VMS: Field = field(
    Section::SelectedVms,
    "",
    "the serial numbers of the machines in brackets, such as [1, 3, 5]",
);
pub(super) const STORAGE: Field = field(
    Section::Storage,
    "",
    "the name of the storage in Proxmox VE, such as \"local-lvm\"",
);
pub(super) const EXPORT_ROOT: Field = field(
    Section::ExportRoot,
    "",
    "the path of a folder, such as \"./exports\"",
);
pub(super) const OVFTOOL: Field = field(
    Section::Ovftool,
    "",
    "the program's name or path, such as \"/usr/bin/ovftool\"",
);

/// Every field there is.
pub(super) const ALL: [Field; 16] = [
    PLATFORM_SOURCE,
    PLATFORM_TARGET,
    ESXI_HOST,
    ESXI_USER,
    ESXI_PASS,
    PROXMOX_HOST,
    PROXMOX_USER,
    PROXMOX_PASS,
    KVM_HOST,
    KVM_USER,
    KVM_PASS,
    KVM_STORAGE_POOL,
    SELECTED_VMS,
    STORAGE,
    EXPORT_ROOT,
    OVFTOOL,
];

impl Field {
    /// How it is called: `source.esxi_host`, `storage`.
    pub(super) fn path(&self) -> String {
        path(self.section, self.key)
    }

    /// The fields of a section that is an object; none for one that is a value.
    pub(super) fn of(section: Section) -> impl Iterator<Item = &'static Self> {
        ALL.iter()
            .filter(move |field| field.section == section && !field.key.is_empty())
    }
}

/// How a key of a section is called.
pub(super) fn path(section: Section, key: &str) -> String {
    match key {
        "" => section.to_string(),
        key => format!("{section}.{key}"),
    }
}
