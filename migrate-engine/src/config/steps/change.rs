//! What one step changes, and which keys of the file that is.

use serde_json::Value;

use super::edit::Content;
use super::field::{self, Field};
use super::section::Section;
use super::settings::{Connection, KvmConnection, Platforms};
use crate::model::{Secret, Selection};

/// The outcome of one step. Only the keys that are named here are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Step 1: `platforms.source` and `platforms.target`.
    Platforms(Platforms),
    /// Step 2: `source.esxi_host`, `source.esxi_user` and `source.esxi_pass`.
    Source(Connection),
    /// Step 3: `selected_vms`.
    SelectedVms(Selection),
    /// Step 4 for Proxmox VE: the `destination.proxmox_…` keys; those of KVM stay.
    Proxmox(Connection),
    /// Step 4 for KVM: the `destination.kvm_…` keys; those of Proxmox VE stay.
    Kvm(KvmConnection),
    /// `storage`.
    Storage(String),
    /// `export_root`.
    ExportRoot(String),
    /// `ovftool`.
    Ovftool(String),
}

impl Change {
    /// The section that it changes.
    #[must_use]
    pub fn section(&self) -> Section {
        match self {
            Self::Platforms(_) => Section::Platforms,
            Self::Source(_) => Section::Source,
            Self::SelectedVms(_) => Section::SelectedVms,
            Self::Proxmox(_) | Self::Kvm(_) => Section::Destination,
            Self::Storage(_) => Section::Storage,
            Self::ExportRoot(_) => Section::ExportRoot,
            Self::Ovftool(_) => Section::Ovftool,
        }
    }

    pub(super) fn content(&self) -> Content {
        match self {
            Self::Platforms(platforms) => Content::Keys(vec![
                pair(field::PLATFORM_SOURCE, platforms.source.name()),
                pair(field::PLATFORM_TARGET, platforms.target.name()),
            ]),
            Self::Source(source) => login([field::ESXI_HOST, field::ESXI_USER, field::ESXI_PASS], source),
            Self::SelectedVms(selection) => Content::Whole(selection.serials().collect()),
            Self::Proxmox(proxmox) => login(
                [field::PROXMOX_HOST, field::PROXMOX_USER, field::PROXMOX_PASS],
                proxmox,
            ),
            Self::Kvm(kvm) => Content::Keys(vec![
                pair(field::KVM_HOST, &kvm.host),
                pair(field::KVM_USER, &kvm.user),
                pair(field::KVM_PASS, kvm.password.as_ref().map_or("", Secret::reveal)),
                pair(field::KVM_STORAGE_POOL, &kvm.storage_pool),
            ]),
            Self::Storage(text) | Self::ExportRoot(text) | Self::Ovftool(text) => {
                Content::Whole(text.as_str().into())
            }
        }
    }
}

fn login([host, user, password]: [Field; 3], connection: &Connection) -> Content {
    Content::Keys(vec![
        pair(host, &connection.host),
        pair(user, &connection.user),
        pair(password, connection.password.reveal()),
    ])
}

fn pair(field: Field, text: &str) -> (&'static str, Value) {
    (field.key, text.into())
}
