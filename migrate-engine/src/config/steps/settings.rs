//! What the four steps have filled in, typed.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::{Flaw, Unfinished};
use super::field::{self, Field};
use crate::model::{Secret, Selection};

/// From where machines come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourcePlatform {
    /// One ESXi host.
    #[default]
    Esxi,
    /// A vCenter; the keys `esxi_host`, `esxi_user` and `esxi_pass` are then the vCenter's.
    Vcenter,
}

/// Where machines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetPlatform {
    /// CloudStack, through the volume daemon, which has its own settings: `destination` is not needed.
    Cloudstack,
    /// Proxmox VE.
    #[default]
    Proxmox,
    /// A host with KVM and libvirt.
    Kvm,
}

/// A text that names no platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct UnknownPlatformError {
    /// The names there are.
    pub expected: &'static str,
}

/// Step 1. Where the file does not say: from ESXi to Proxmox VE, or to KVM where only a KVM host is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platforms {
    /// From where.
    pub source: SourcePlatform,
    /// To where.
    pub target: TargetPlatform,
}

/// Who we are on a host, as far as it is filled in. What is empty in the file is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The host's name or address.
    pub host: Option<String>,
    /// The user's name.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// Step 4, as far as it is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The Proxmox VE host.
    pub proxmox: Login,
    /// The KVM host.
    pub kvm: Login,
    /// The libvirt pool on the KVM host, by its name or folder; `default` where the file does not say.
    pub kvm_storage_pool: String,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// Step 1.
    pub platforms: Platforms,
    /// Step 2, as far as it is filled in.
    pub source: Login,
    /// Step 3: serial numbers in the list of the source. Whether the list has them is not known here.
    pub selected_vms: Selection,
    /// Step 4.
    pub destination: Destination,
    /// The storage of Proxmox VE; `local-lvm` where the file does not say.
    pub storage: String,
    /// The folder of exports as it is written; `./exports` where the file does not say.
    pub export_root: PathBuf,
    /// The program; `ovftool`, to be found on the `PATH`, where the file does not say.
    pub ovftool: PathBuf,
}

/// A host that can be logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The host's name or address.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// A KVM host that can be logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvmConnection {
    /// The host's name or address.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// The user's password; `None` where a key is used.
    pub password: Option<Secret>,
    /// The libvirt pool, by its name or folder.
    pub storage_pool: String,
}

impl SourcePlatform {
    /// How it is called in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Esxi => "esxi",
            Self::Vcenter => "vcenter",
        }
    }
}

impl TargetPlatform {
    /// How it is called in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloudstack => "cloudstack",
            Self::Proxmox => "proxmox",
            Self::Kvm => "kvm",
        }
    }
}

impl FromStr for SourcePlatform {
    type Err = UnknownPlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = field::PLATFORM_SOURCE.write;
        [Self::Esxi, Self::Vcenter]
            .into_iter()
            .find(|platform| platform.name() == text)
            .ok_or(UnknownPlatformError { expected })
    }
}

impl FromStr for TargetPlatform {
    type Err = UnknownPlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = field::PLATFORM_TARGET.write;
        [Self::Cloudstack, Self::Proxmox, Self::Kvm]
            .into_iter()
            .find(|platform| platform.name() == text)
            .ok_or(UnknownPlatformError { expected })
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self {
            proxmox: Login::default(),
            kvm: Login::default(),
            kvm_storage_pool: "default".to_owned(),
        }
    }
}

impl Default for Steps {
    /// Nothing is filled in yet.
    fn default() -> Self {
        Self {
            platforms: Platforms::default(),
            source: Login::default(),
            selected_vms: Selection::default(),
            destination: Destination::default(),
            storage: "local-lvm".to_owned(),
            export_root: "./exports".into(),
            ovftool: "ovftool".into(),
        }
    }
}

impl Steps {
    /// The source's host.
    ///
    /// # Errors
    /// Where step 2 has not filled in all of it.
    pub fn source(&self) -> Result<Connection, Unfinished> {
        connection(
            &self.source,
            [&field::ESXI_HOST, &field::ESXI_USER, &field::ESXI_PASS],
        )
    }

    /// The Proxmox VE host.
    ///
    /// # Errors
    /// Where step 4 has not filled in all of it.
    pub fn proxmox(&self) -> Result<Connection, Unfinished> {
        let fields = [&field::PROXMOX_HOST, &field::PROXMOX_USER, &field::PROXMOX_PASS];
        connection(&self.destination.proxmox, fields)
    }

    /// The KVM host. A password is not demanded: a key may be used.
    ///
    /// # Errors
    /// Where step 4 has not filled in all of it.
    pub fn kvm(&self) -> Result<KvmConnection, Unfinished> {
        let Login { host, user, password } = &self.destination.kvm;
        let missing = missing([
            (host.is_some(), &field::KVM_HOST),
            (user.is_some(), &field::KVM_USER),
        ]);
        match (host, user) {
            (Some(host), Some(user)) => Ok(KvmConnection {
                host: host.clone(),
                user: user.clone(),
                password: password.clone(),
                storage_pool: self.destination.kvm_storage_pool.clone(),
            }),
            _ => Err(Unfinished { flaws: missing }),
        }
    }

    /// What has to be filled in before a migration between the chosen platforms can run, in the order of the steps.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Flaw> {
        let selected = missing([(!self.selected_vms.is_empty(), &field::SELECTED_VMS)]);
        let destination = match self.platforms.target {
            TargetPlatform::Cloudstack => None,
            TargetPlatform::Proxmox => self.proxmox().err(),
            TargetPlatform::Kvm => self.kvm().err(),
        };
        let flaws = |unfinished: Option<Unfinished>| unfinished.map_or_else(Vec::new, |it| it.flaws);
        [flaws(self.source().err()), selected, flaws(destination)].concat()
    }

    /// The folder of exports. A path that does not begin with `/` counts from `folder`, the file's own, and not from
    /// wherever a program was started.
    #[must_use]
    pub fn export_root_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.export_root).components().collect()
    }
}

fn connection(login: &Login, fields: [&Field; 3]) -> Result<Connection, Unfinished> {
    let Login { host, user, password } = login;
    match (host, user, password) {
        (Some(host), Some(user), Some(password)) => Ok(Connection {
            host: host.clone(),
            user: user.clone(),
            password: password.clone(),
        }),
        _ => Err(Unfinished {
            flaws: missing([
                (host.is_some(), fields[0]),
                (user.is_some(), fields[1]),
                (password.is_some(), fields[2]),
            ]),
        }),
    }
}

fn missing<'a>(fields: impl IntoIterator<Item = (bool, &'a Field)>) -> Vec<Flaw> {
    let missing = fields.into_iter().filter(|(is_there, _)| !is_there);
    missing.map(|(_, field)| Flaw::missing(field)).collect()
}
