//! OVA archives and OVF documents as virtualisers write them.

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::folders::Bench;

/// How an image lies in its package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

/// What a document says of a disk.
pub(crate) struct Told {
    pub(crate) href: String,
    pub(crate) size: usize,
    pub(crate) capacity: usize,
    pub(crate) packing: Packing,
}

/// A document of a machine of this name, with two processors and 512 MiB.
pub(crate) fn ovf(name: &str, disks: &[Told]) -> String {
    let (mut files, mut section, mut items) = (String::new(), String::new(), String::new());
    for (n, disk) in disks.iter().enumerate() {
        let Told {
            href, size, capacity, ..
        } = disk;
        let compression = match disk.packing {
            Packing::Plain => "",
            Packing::Gzip => r#"ovf:compression="gzip""#,
        };
        files += &format!(r#"<File ovf:href="{href}" ovf:id="file{n}" ovf:size="{size}" {compression}/>"#);
        section += &format!(
            r#"<Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk{n}" ovf:fileRef="file{n}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>"#
        );
        items += &format!(
            "<Item><rasd:AddressOnParent>{n}</rasd:AddressOnParent><rasd:ElementName>Hard disk {n}</rasd:ElementName>\
             <rasd:HostResource>ovf:/disk/vmdisk{n}</rasd:HostResource><rasd:InstanceID>1{n}</rasd:InstanceID>\
             <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
        );
    }
    format!(
        r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="r" xmlns:vmw="v">
<References>{files}</References><DiskSection>{section}</DiskSection><VirtualSystem ovf:id="{name}"><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>
<Item><rasd:Connection>VM Network</rasd:Connection><rasd:ElementName>Network adapter 1</rasd:ElementName><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>{items}
<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
</VirtualHardwareSection></VirtualSystem></Envelope>"#
    )
}

/// The files of a package: its document, its manifest, its images.
pub(crate) fn files(name: &str, bench: &Bench, disks: &[(&Vec<u8>, Packing)]) -> Vec<(String, Vec<u8>)> {
    let (mut told, mut images) = (Vec::new(), Vec::new());
    for (n, (bytes, packing)) in disks.iter().enumerate() {
        let vmdk = bench.image(bytes, &["vmdk", "-o", "subformat=streamOptimized"]);
        let image = match packing {
            Packing::Plain => vmdk,
            Packing::Gzip => gzip(&vmdk),
        };
        let href = format!("{name}-disk{n}.vmdk");
        told.push(Told {
            href: href.clone(),
            size: image.len(),
            capacity: bytes.len(),
            packing: *packing,
        });
        images.push((href, image));
    }
    let mut files = vec![(format!("{name}.ovf"), ovf(name, &told).into_bytes())];
    files.extend(images);
    let line = |(name, bytes): &(String, Vec<u8>)| {
        let digest = Sha256::digest(bytes);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("SHA256({name})= {digest}\n")
    };
    let manifest: String = files.iter().map(line).collect();
    files.insert(1, (format!("{name}.mf"), manifest.into_bytes()));
    files
}

/// They in an archive.
pub(crate) fn ova(name: &str, bench: &Bench, disks: &[(&Vec<u8>, Packing)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files(name, bench, disks) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
