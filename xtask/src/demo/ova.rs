//! An OVA as a hypervisor exports it: descriptor first, manifest, then streamOptimized disks, in one ustar archive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::content::sha256;
use super::image::{self, RawDisk};
use crate::command::{command, output};

/// Packs `disks` into `dir/name.ova`. The parts beside it are removed.
pub(super) fn build(dir: &Path, name: &str, disks: &[RawDisk]) -> Result<PathBuf> {
    let mut vmdks = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let vmdk = format!("{name}-disk{}.vmdk", index + 1);
        image::convert(&disk.path, &dir.join(&vmdk), "vmdk", "subformat=streamOptimized")?;
        vmdks.push(vmdk);
    }
    let (ovf, manifest) = (format!("{name}.ovf"), format!("{name}.mf"));
    write(&dir.join(&ovf), &descriptor(dir, name, disks, &vmdks)?)?;
    let mut sums = String::new();
    for member in [&ovf].into_iter().chain(&vmdks) {
        sums += &format!("SHA256({member})= {}\n", sha256(&dir.join(member))?);
    }
    write(&dir.join(&manifest), &sums)?;

    let archive = dir.join(format!("{name}.ova"));
    let members: Vec<&String> = [&ovf, &manifest].into_iter().chain(&vmdks).collect();
    let mut tar = command("tar");
    tar.args(["--format=ustar", "--owner=0", "--group=0", "-C"])
        .arg(dir)
        .arg("-cf")
        .arg(&archive);
    output(tar.args(&members))?;
    for member in members {
        fs::remove_file(dir.join(member)).with_context(|| format!("cannot remove {member}"))?;
    }
    Ok(archive)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The OVF descriptor (DSP0243): files, disks, and the virtual hardware that they hang on.
fn descriptor(dir: &Path, name: &str, disks: &[RawDisk], vmdks: &[String]) -> Result<String> {
    let (mut files, mut sections, mut items) = (String::new(), String::new(), String::new());
    for (index, (disk, vmdk)) in disks.iter().zip(vmdks).enumerate() {
        let number = index + 1;
        let size = fs::metadata(dir.join(vmdk))
            .with_context(|| format!("cannot size {vmdk}"))?
            .len();
        files += &format!("    <File ovf:id=\"file{number}\" ovf:href=\"{vmdk}\" ovf:size=\"{size}\"/>\n");
        sections += &format!(
            "    <Disk ovf:diskId=\"vmdisk{number}\" ovf:fileRef=\"file{number}\" ovf:capacity=\"{}\" \
             ovf:capacityAllocationUnits=\"byte\" ovf:format=\"{FORMAT}\"/>\n",
            disk.size
        );
        let id = number + 3;
        items += &format!(
            "      <Item>\n        <rasd:AddressOnParent>{index}</rasd:AddressOnParent>\n        \
             <rasd:ElementName>Hard disk {number}</rasd:ElementName>\n        \
             <rasd:HostResource>ovf:/disk/vmdisk{number}</rasd:HostResource>\n        \
             <rasd:InstanceID>{id}</rasd:InstanceID>\n        <rasd:Parent>3</rasd:Parent>\n        \
             <rasd:ResourceType>17</rasd:ResourceType>\n      </Item>\n"
        );
    }
    Ok(TEMPLATE
        .replace("@NAME@", name)
        .replace("@FILES@", files.trim_end())
        .replace("@DISKS@", sections.trim_end())
        .replace("@ITEMS@", items.trim_end()))
}

const FORMAT: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

const TEMPLATE: &str = include_str!("template.ovf");
