//! OVA archives and OVF folders that are as they should be.

use std::io::Write;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::tar::{end, entry};
use super::{Bench, chain, tools_missing};
use crate::source::{DiskKind, Format, ManifestCheck, SourceError};

pub(super) const SIZE: usize = 2 << 20;
const VMDK: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

/// What an OVF document says of one disk.
pub(super) struct Told<'a> {
    pub(super) href: &'a str,
    pub(super) attributes: String,
    pub(super) capacity: u64,
}

impl<'a> Told<'a> {
    pub(super) fn new(href: &'a str) -> Self {
        Told {
            href,
            attributes: String::new(),
            capacity: SIZE as u64,
        }
    }
}

pub(super) fn ovf(disks: &[Told<'_>]) -> String {
    let (mut files, mut section, mut items) = (String::new(), String::new(), String::new());
    for (
        n,
        Told {
            href,
            attributes,
            capacity,
        },
    ) in disks.iter().enumerate()
    {
        files += &format!(r#"<File ovf:href="{href}" ovf:id="file{n}" {attributes}/>"#);
        section += &format!(
            r#"<Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk{n}" ovf:fileRef="file{n}"/>"#
        );
        items += &format!(
            "<Item><rasd:AddressOnParent>{n}</rasd:AddressOnParent><rasd:ElementName>Hard disk {n}</rasd:ElementName>\
             <rasd:HostResource>ovf:/disk/vmdisk{n}</rasd:HostResource><rasd:InstanceID>1{n}</rasd:InstanceID>\
             <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
        );
    }
    format!(
        r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="r">
<References>{files}</References><DiskSection>{section}</DiskSection><VirtualSystem ovf:id="web"><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>{items}
</VirtualHardwareSection></VirtualSystem></Envelope>"#
    )
}

/// A stream-optimised VMDK of a disk, and the disk.
pub(super) fn stream(bench: &Bench, seed: u8) -> (PathBuf, Vec<u8>) {
    let raw = bench.raw(&format!("disk{seed}.raw"), SIZE, seed);
    let vmdk = bench.image(
        &raw,
        &format!("made{seed}.vmdk"),
        &["vmdk", "-o", "subformat=streamOptimized"],
    );
    (raw, std::fs::read(vmdk).unwrap())
}

pub(super) fn manifest(files: &[(&str, &[u8])]) -> String {
    let line = |(name, bytes): &(&str, &[u8])| {
        let digest: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("SHA256({name})= {digest}\n")
    };
    files.iter().map(line).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_ova_with_two_disks_is_served_in_place() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let ((first, one), (second, two)) = (stream(&bench, 1), stream(&bench, 2));
    let format = |size: usize| format!(r#"ovf:size="{size}""#);
    let document = ovf(&[
        Told {
            attributes: format(one.len()),
            ..Told::new("web-disk1.vmdk")
        },
        Told {
            attributes: format(two.len()),
            ..Told::new("web-disk2.vmdk")
        },
    ])
    .replace("ovf:fileRef", &format!("ovf:format=\"{VMDK}\" ovf:fileRef"));
    let digests = manifest(&[
        ("web.ovf", document.as_bytes()),
        ("web-disk1.vmdk", &one),
        ("web-disk2.vmdk", &two),
    ]);
    let archive = [
        entry("web.ovf", document.as_bytes()),
        entry("web.mf", digests.as_bytes()),
        entry("web-disk1.vmdk", &one),
        entry("web-disk2.vmdk", &two),
    ];
    let ova = bench.write("we,b:1.ova", end(archive.concat()));
    let machine = bench
        .open(&ova)
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((machine.name.as_str(), machine.cpus), ("web", Some(2)));
    assert!(machine.notes.is_empty(), "{:?}", machine.notes);
    let told: Vec<_> = machine
        .disks
        .iter()
        .map(|disk| (disk.disk_id.as_str(), disk.label.as_str()))
        .collect();
    assert_eq!(told, [("vmdisk0", "Hard disk 0"), ("vmdisk1", "Hard disk 1")]);
    bench.assert_clean();
    for (disk, raw) in machine.disks.iter().zip([first, second]) {
        assert_eq!(disk.kind, DiskKind::Image(Format::Vmdk));
        assert_eq!(disk.path.as_ref(), Some(&ova));
        bench.assert_serves(disk, &raw).await;
    }
    bench.assert_clean();
}

#[tokio::test]
async fn an_ovf_folder_with_a_blank_disk_and_a_flat_one() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("source.raw", SIZE, 3);
    bench.image(&raw, "the disk.vmdk", &["vmdk", "-o", "subformat=monolithicFlat"]);
    let blank = r#"<Disk ovf:capacity="4" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="empty"/></DiskSection>"#;
    let document = ovf(&[Told::new("the%20disk.vmdk")]).replace("</DiskSection>", blank);
    let machine = bench
        .open(bench.write("vm.ovf", document))
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(
        machine.notes.len(),
        2,
        "no manifest, and a disk without a drive: {:?}",
        machine.notes
    );
    bench.assert_serves(&machine.disks[0], &raw).await;
    let empty = &machine.disks[1];
    assert!(empty.is_blank());
    assert_eq!(
        (empty.disk_id.as_str(), empty.capacity_bytes),
        ("empty", Some(4 << 20))
    );
    let zeros = bench.write("zeros", vec![0; 4 << 20]);
    bench.assert_serves(empty, &zeros).await;
}

#[tokio::test]
async fn a_compressed_disk_is_unpacked_and_goes_with_its_last_handle() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let (raw, vmdk) = stream(&bench, 4);
    let packed = gzip(&vmdk);
    let attributes = format!(r#"ovf:compression="gzip" ovf:size="{}""#, packed.len());
    let document = ovf(&[Told {
        attributes,
        ..Told::new("d.vmdk.gz")
    }]);
    let ova = bench.write(
        "x.ova",
        end([entry("x.ovf", document.as_bytes()), entry("d.vmdk.gz", &packed)].concat()),
    );
    let machine = bench
        .open(&ova)
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(std::fs::read_dir(&bench.options.scratch_dir).unwrap().count(), 1);
    let disk = machine.disks[0].clone();
    drop(machine);
    bench.assert_serves(&disk, &raw).await;
    let served = disk.serve(&bench.options).await.unwrap();
    drop(disk);
    super::compare(&served, &raw);
    drop(served);
    bench.assert_clean();
}

#[tokio::test]
async fn other_formats_in_an_archive_are_told_by_their_bytes() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("source.raw", SIZE, 5);
    let qcow2 = std::fs::read(bench.image(&raw, "made.qcow2", &["qcow2"])).unwrap();
    let document = ovf(&[Told::new("a.img"), Told::new("b.img")]);
    let archive = [
        entry("a.img", &qcow2),
        entry("x.ovf", document.as_bytes()),
        entry("b.img", &std::fs::read(&raw).unwrap()),
    ];
    let machine = bench
        .open(bench.write("x.ova", end(archive.concat())))
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let kinds: Vec<_> = machine.disks.iter().map(|disk| disk.kind).collect();
    assert_eq!(
        kinds,
        [DiskKind::Image(Format::Qcow2), DiskKind::Image(Format::Raw)]
    );
    assert_eq!(
        machine.notes.len(),
        3,
        "late document, no manifest, raw: {:?}",
        machine.notes
    );
    for disk in &machine.disks {
        bench.assert_serves(disk, &raw).await;
    }
}

#[tokio::test]
async fn a_manifest_is_verified_unless_told_not_to() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    let (_, vmdk) = stream(&bench, 6);
    let document = ovf(&[Told::new("d.vmdk")]);
    let archive = |manifest: &str| {
        end([
            entry("x.ovf", document.as_bytes()),
            entry("x.mf", manifest.as_bytes()),
            entry("d.vmdk", &vmdk),
        ]
        .concat())
    };
    let good = manifest(&[("x.ovf", document.as_bytes()), ("d.vmdk", &vmdk)]);
    bench.open(bench.write("good.ova", archive(&good))).await.unwrap();
    for (manifest, says) in [
        (
            manifest(&[("x.ovf", document.as_bytes()), ("d.vmdk", b"other")]),
            "the digest of `d.vmdk` is another",
        ),
        (
            manifest(&[("x.ovf", b"other"), ("d.vmdk", &vmdk)]),
            "the digest of `x.ovf` is another",
        ),
        (
            manifest(&[("x.ovf", document.as_bytes())]),
            "no digest for `d.vmdk`",
        ),
        (
            format!("{good}{}", manifest(&[("gone.iso", b"")])),
            "lists `gone.iso`",
        ),
        (good.repeat(2), "two digests"),
        (good.replace("SHA256", "MD5"), "MD5"),
        ("nonsense".to_owned(), "line 1"),
    ] {
        let error = bench.refused(bench.write("bad.ova", archive(&manifest))).await;
        assert!(matches!(error, SourceError::Manifest { .. }), "{error:?}");
        assert!(chain(&error).contains(says), "{}", chain(&error));
    }
    bench.options.manifest = ManifestCheck::Skip;
    let machine = bench
        .open(bench.write("bad.ova", archive("nonsense")))
        .await
        .unwrap();
    assert!(machine.notes[0].contains("not verified"), "{:?}", machine.notes);
}
