//! What a source is: a machine, or as much of one as the source tells, with its disks.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempPath;

use super::file::{Stamp, Window};
use super::format::Format;
use super::image::Image;
use super::qemu;

/// A machine as its source describes it. A lone image is a machine with one disk and nothing else known.
#[derive(Debug, Clone)]
pub struct SourceMachine {
    /// The machine's name: by the OVF document, else from the file's name.
    pub name: String,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Memory in mebibytes.
    pub memory_mb: Option<u64>,
    /// What it boots with.
    pub firmware: Option<Firmware>,
    /// The disks, in the order in which the machine sees them.
    pub disks: Vec<SourceDisk>,
    /// The network cards, in order.
    pub networks: Vec<SourceNetwork>,
    /// What a person should know, one sentence each.
    pub notes: Vec<String>,
}

/// What a machine boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// The PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceNetwork {
    /// What the card is called.
    pub label: String,
    /// The network it is connected to.
    pub network_name: Option<String>,
    /// The kind of card, such as `VmxNet3`.
    pub adapter_type: Option<String>,
    /// Its address, where the source fixes one.
    pub mac_address: Option<String>,
}

/// What a disk's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// An image of this format.
    Image(Format),
    /// An NBD export of someone else.
    Remote,
    /// Nothing: all zeros.
    Blank,
}

/// A disk that can be served as NBD. Clones share what was unpacked for it; the last one removes that.
#[derive(Debug, Clone)]
pub struct SourceDisk {
    /// The same for the same disk each time the source is opened: an OVF disk id, a file's name or a URI.
    /// Unique within the machine.
    pub disk_id: String,
    /// What people call it.
    pub label: String,
    /// What its bytes come from.
    pub kind: DiskKind,
    /// Its size in bytes; `None` for an NBD export, which tells it when connected to.
    pub capacity_bytes: Option<u64>,
    /// The file that holds it: the image, or the archive that the image is in.
    pub path: Option<PathBuf>,
    pub(super) content: Content,
}

/// How a disk is served.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// By someone else, here.
    Remote(String),
    /// By a qemu-nbd of ours that opens this node, as long as the files are the ones that were inspected.
    Node {
        node: Value,
        stamps: Vec<Stamp>,
        unpacked: Option<Arc<Unpacked>>,
    },
    /// Not yet: it is compressed, in this file, and was only looked at.
    Packed(Stamp),
}

/// A file that was unpacked for us, removed with this; and what it was unpacked from.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) _path: TempPath,
    pub(super) from: Stamp,
    pub(super) window: Option<Window>,
}

impl SourceDisk {
    /// Whether the disk is known to hold zeros only, and needs no copying onto a target that reads as zeros.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.kind == DiskKind::Blank
    }

    /// Names the content of the disk: another name is another content, and the same name surely the same. `None` where
    /// nothing tells: an export of somebody else, or a device.
    #[must_use]
    pub fn content_id(&self) -> Option<String> {
        let Content::Node {
            node,
            stamps,
            unpacked,
        } = &self.content
        else {
            return None;
        };
        if !self.stamps().all(Stamp::tells_writes) {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        match unpacked {
            // Where it was unpacked to is another place each time.
            Some(unpacked) => {
                let told = (self.kind, self.capacity_bytes, &unpacked.from, unpacked.window);
                hasher.update(format!("unpacked {told:?}").as_bytes());
            }
            None => {
                hasher.update(node.to_string().as_bytes());
                for stamp in stamps {
                    hasher.update(format!("{stamp:?}").as_bytes());
                }
            }
        }
        Some(format!("disk `{}`, {}", self.disk_id, hasher.finalize().to_hex()))
    }

    /// The files that it is made of, as they were found.
    pub(super) fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        let (stamps, packed) = match &self.content {
            Content::Node { stamps, unpacked, .. } => (
                stamps.as_slice(),
                unpacked.as_ref().map(|unpacked| &unpacked.from),
            ),
            Content::Packed(file) => (&[][..], Some(file)),
            Content::Remote(_) => (&[][..], None),
        };
        stamps.iter().chain(packed)
    }

    pub(super) fn of_image(disk_id: String, label: String, path: PathBuf, image: Image) -> Self {
        SourceDisk {
            disk_id,
            label,
            kind: DiskKind::Image(image.format),
            capacity_bytes: Some(image.capacity),
            path: Some(path),
            content: Content::Node {
                node: image.node,
                stamps: image.stamps,
                unpacked: None,
            },
        }
    }

    pub(super) fn blank(disk_id: String, label: String, capacity: u64) -> Self {
        SourceDisk {
            disk_id,
            label,
            kind: DiskKind::Blank,
            capacity_bytes: Some(capacity),
            path: None,
            content: Content::Node {
                node: qemu::blank_node(capacity),
                stamps: Vec::new(),
                unpacked: None,
            },
        }
    }
}
