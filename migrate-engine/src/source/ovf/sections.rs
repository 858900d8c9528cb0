//! The sections of an envelope beside the machine: files, disks, deployment configurations.

use super::xml::Element;
use super::{Compression, Disk, FileReference, OvfError, units};
use crate::source::name::printable;

/// `References/File`.
pub(super) fn files(envelope: &Element) -> Result<Vec<FileReference>, OvfError> {
    let mut files: Vec<FileReference> = Vec::new();
    for element in envelope
        .children("References")
        .flat_map(|references| references.children("File"))
    {
        let file = file(element)?;
        if files.iter().any(|other| other.id == file.id) {
            return Err(OvfError::Duplicate {
                what: "file",
                id: printable(&file.id),
            });
        }
        files.push(file);
    }
    Ok(files)
}

fn file(element: &Element) -> Result<FileReference, OvfError> {
    let id = required(element, "id", "File")?;
    let name = || format!("the file `{}`", printable(id));
    let size = element
        .attribute("size")
        .map(|size| units::bytes(size, None, "file size"))
        .transpose()?;
    if element.attribute("chunkSize").is_some() {
        let what = "is split into chunks: join them, or export it anew without chunks";
        return Err(OvfError::Unsupported {
            element: name(),
            what,
        });
    }
    let compression = match element.attribute("compression") {
        None | Some("" | "identity") => Compression::Identity,
        Some("gzip") => Compression::Gzip,
        Some(_) => {
            let what = "is compressed in a way that is not read here (gzip is)";
            return Err(OvfError::Unsupported {
                element: name(),
                what,
            });
        }
    };
    Ok(FileReference {
        id: id.to_owned(),
        href: required(element, "href", "File")?.to_owned(),
        size,
        compression,
    })
}

/// `DiskSection/Disk`, in the order of the document.
pub(super) fn disks(envelope: &Element, files: &[FileReference]) -> Result<Vec<Disk>, OvfError> {
    let mut disks: Vec<Disk> = Vec::new();
    for element in envelope
        .children("DiskSection")
        .flat_map(|section| section.children("Disk"))
    {
        let disk = disk(element, files)?;
        if disks.iter().any(|other| other.id == disk.id) {
            return Err(OvfError::Duplicate {
                what: "disk",
                id: printable(&disk.id),
            });
        }
        disks.push(disk);
    }
    Ok(disks)
}

fn disk(element: &Element, files: &[FileReference]) -> Result<Disk, OvfError> {
    let id = required(element, "diskId", "Disk")?;
    let name = || format!("the disk `{}`", printable(id));
    if element
        .attribute("parentRef")
        .is_some_and(|parent| !parent.is_empty())
    {
        let what = "is a delta of another disk: consolidate the snapshots and export it anew";
        return Err(OvfError::Unsupported {
            element: name(),
            what,
        });
    }
    let capacity = required(element, "capacity", "Disk")?;
    let capacity = units::bytes(
        capacity,
        element.attribute("capacityAllocationUnits"),
        "disk capacity",
    )?;
    if capacity == 0 {
        return Err(OvfError::Number {
            what: "disk capacity",
            value: "0".to_owned(),
        });
    }
    let file = match element.attribute("fileRef").filter(|file| !file.is_empty()) {
        None => None,
        Some(reference) => {
            let found = files.iter().find(|file| file.id == reference);
            let dangling = || OvfError::Dangling {
                from: name(),
                what: "file",
                id: printable(reference),
            };
            Some(found.ok_or_else(dangling)?.clone())
        }
    };
    let format = element.attribute("format").map(str::to_owned);
    Ok(Disk {
        id: id.to_owned(),
        label: None,
        capacity,
        file,
        format,
    })
}

/// The id of the configuration that holds where nobody chose one.
pub(super) fn default_configuration(envelope: &Element) -> Option<String> {
    let section = envelope.child("DeploymentOptionSection")?;
    let chosen = section
        .children("Configuration")
        .find(|element| element.attribute("default") == Some("true"));
    let chosen = chosen.or_else(|| section.child("Configuration"))?;
    chosen.attribute("id").map(str::to_owned)
}

fn required<'a>(element: &'a Element, name: &'static str, of: &str) -> Result<&'a str, OvfError> {
    let value = element.attribute(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| OvfError::Missing {
        element: of.to_owned(),
        what: name,
    })
}
