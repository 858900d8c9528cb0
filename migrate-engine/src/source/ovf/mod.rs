//! OVF documents: what machine they describe and which files hold its disks. Pure: text in, description out.
//!
//! After DMTF DSP0243 (versions 1 and 2). What we do not migrate is refused by name, not skipped.

mod error;
mod hardware;
mod sections;
#[cfg(test)]
mod tests;
mod units;
mod xml;

pub use error::OvfError;

use super::machine::{Firmware, SourceNetwork};
use xml::Element;

/// A machine as a document describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) name: Option<String>,
    pub(super) cpus: Option<u32>,
    pub(super) memory_mb: Option<u64>,
    pub(super) firmware: Option<Firmware>,
    /// In the order in which the machine sees them.
    pub(super) disks: Vec<Disk>,
    pub(super) networks: Vec<SourceNetwork>,
    /// Every file of the package that the document names.
    pub(super) files: Vec<FileReference>,
    pub(super) notes: Vec<String>,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) id: String,
    /// What the hardware section calls it.
    pub(super) label: Option<String>,
    /// In bytes.
    pub(super) capacity: u64,
    /// The image; `None` for an empty disk.
    pub(super) file: Option<FileReference>,
    /// The URI that names the image's format.
    pub(super) format: Option<String>,
}

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileReference {
    pub(super) id: String,
    pub(super) href: String,
    /// In bytes, where the document gives it.
    pub(super) size: Option<u64>,
    pub(super) compression: Compression,
}

/// How a file of the package is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Identity,
    Gzip,
}

/// Reads a document.
///
/// # Errors
/// Any [`OvfError`]; time and memory are bounded by the text's length.
pub(super) fn parse(text: &[u8]) -> Result<Document, OvfError> {
    let envelope = xml::parse(text)?;
    if envelope.name != "Envelope" {
        return Err(OvfError::NoEnvelope {
            found: super::name::printable(&envelope.name),
        });
    }
    let system = the_system(&envelope)?;
    let files = sections::files(&envelope)?;
    let disks = sections::disks(&envelope, &files)?;
    let hardware = hardware::read(system, &sections::default_configuration(&envelope))?;
    let mut notes = Vec::new();
    let disks = hardware::in_order(disks, &hardware, &mut notes)?;
    Ok(Document {
        name: system_name(system),
        cpus: hardware.cpus,
        memory_mb: hardware.memory_mb,
        firmware: hardware.firmware,
        disks,
        networks: hardware.networks,
        files,
        notes,
    })
}

/// The one machine of the document.
fn the_system(envelope: &Element) -> Result<&Element, OvfError> {
    let mut systems = Vec::new();
    collect_systems(envelope, &mut systems);
    match systems[..] {
        [system] => Ok(system),
        [] => Err(OvfError::NoSystem),
        _ => Err(OvfError::ManySystems { count: systems.len() }),
    }
}

fn collect_systems<'a>(element: &'a Element, systems: &mut Vec<&'a Element>) {
    for child in &element.children {
        match child.name.as_str() {
            "VirtualSystem" => systems.push(child),
            "VirtualSystemCollection" => collect_systems(child, systems),
            _ => {}
        }
    }
}

fn system_name(system: &Element) -> Option<String> {
    let named = system.child("Name").map(|name| name.text.trim());
    let name = named
        .filter(|name| !name.is_empty())
        .or_else(|| system.attribute("id"))?;
    Some(name.chars().filter(|c| !c.is_control()).collect())
}
