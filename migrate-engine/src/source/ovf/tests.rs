//! Documents of real exporters' shape, and documents that lie.

use proptest::prelude::*;

use super::{Compression, Document, OvfError, parse, units};
use crate::source::machine::Firmware;

fn envelope(inside: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">{inside}</Envelope>"#
    )
}

fn with_disks(references: &str, disks: &str, hardware: &str) -> String {
    envelope(&format!(
        r#"<References>{references}</References><DiskSection><Info/>{disks}</DiskSection>
<VirtualSystem ovf:id="vm"><Info/><Name>web &amp; mail</Name>
<VirtualHardwareSection>{hardware}</VirtualHardwareSection></VirtualSystem>"#
    ))
}

fn item(fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(k, v)| format!("<rasd:{k}>{v}</rasd:{k}>"))
        .collect();
    format!("<Item>{fields}</Item>")
}

fn drive(id: &str, controller: &str, address: &str, disk: &str) -> String {
    item(&[
        ("AddressOnParent", address),
        ("ElementName", &format!("Hard disk {id}")),
        ("HostResource", &format!("ovf:/disk/{disk}")),
        ("InstanceID", id),
        ("Parent", controller),
        ("ResourceType", "17"),
    ])
}

fn controller(id: &str, number: &str) -> String {
    item(&[("Address", number), ("InstanceID", id), ("ResourceType", "6")])
}

const FILE: &str = r#"<File ovf:href="a.vmdk" ovf:id="f1" ovf:size="100"/>"#;
const DISK: &str =
    r#"<Disk ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="d1" ovf:fileRef="f1"/>"#;

fn read(text: &str) -> Result<Document, OvfError> {
    parse(text.as_bytes())
}

#[test]
fn reads_the_machine() {
    let hardware = [
        item(&[
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", "4"),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("InstanceID", "2"),
            ("ResourceType", "4"),
            ("VirtualQuantity", "2048"),
        ]),
        item(&[
            ("Connection", "VM Network"),
            ("ElementName", "NIC 1"),
            ("InstanceID", "3"),
            ("ResourceSubType", "VmxNet3"),
            ("ResourceType", "10"),
        ]),
        item(&[
            ("HostResource", "ovf:/file/iso"),
            ("InstanceID", "9"),
            ("ResourceType", "15"),
        ]),
        r#"<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>"#.to_owned(),
        controller("4", "0"),
        drive("5", "4", "0", "d1"),
    ];
    let document = read(&with_disks(FILE, DISK, &hardware.concat())).unwrap();
    assert_eq!(document.name.as_deref(), Some("web & mail"));
    assert_eq!(
        (document.cpus, document.memory_mb, document.firmware),
        (Some(4), Some(2048), Some(Firmware::Efi))
    );
    assert_eq!(document.networks[0].network_name.as_deref(), Some("VM Network"));
    assert_eq!(document.networks[0].adapter_type.as_deref(), Some("VmxNet3"));
    let disk = &document.disks[0];
    assert_eq!(
        (disk.id.as_str(), disk.label.as_deref(), disk.capacity),
        ("d1", Some("Hard disk 5"), 1 << 30)
    );
    let file = disk.file.as_ref().unwrap();
    assert_eq!(
        (file.href.as_str(), file.size, file.compression),
        ("a.vmdk", Some(100), Compression::Identity)
    );
}

#[test]
fn disks_come_in_the_order_of_the_hardware() {
    let disks: String = ["a", "b", "c", "d", "loose"]
        .iter()
        .map(|id| format!(r#"<Disk ovf:capacity="1024" ovf:diskId="{id}"/>"#))
        .collect();
    let hardware = [
        drive("20", "11", "0", "a"),
        drive("21", "10", "10", "b"),
        drive("22", "10", "9", "c"),
        drive("23", "10", "0", "d"),
        controller("11", "1"),
        controller("10", "0"),
    ];
    let document = read(&with_disks("", &disks, &hardware.concat())).unwrap();
    let order: Vec<_> = document.disks.iter().map(|disk| disk.id.as_str()).collect();
    assert_eq!(order, ["d", "c", "b", "a", "loose"]);
    assert!(document.notes[0].contains("loose"), "{:?}", document.notes);
    assert!(document.disks.iter().all(|disk| disk.file.is_none()));
}

#[test]
fn only_the_default_configuration_holds() {
    let options = r#"<DeploymentOptionSection><Configuration ovf:id="small"/><Configuration ovf:default="true" ovf:id="large"/></DeploymentOptionSection>"#;
    let cpu = |configuration: &str, count: &str| {
        item(&[
            ("InstanceID", "1"),
            ("ResourceType", "3"),
            ("VirtualQuantity", count),
        ])
        .replace("<Item>", &format!("<Item{configuration}>"))
    };
    let hardware = [
        cpu("", "1"),
        cpu(r#" ovf:configuration="small""#, "2"),
        cpu(r#" ovf:configuration="large""#, "8"),
    ];
    let text = with_disks(FILE, DISK, &hardware.concat())
        .replace("<DiskSection>", &format!("{options}<DiskSection>"));
    assert_eq!(read(&text).unwrap().cpus, Some(8));
}

#[test]
fn document_types_and_entities_are_refused() {
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>"#;
    let text = with_disks(FILE, DISK, "").replace("<Envelope", &format!("{bomb}<Envelope"));
    assert!(matches!(read(&text), Err(OvfError::DocumentType)));
    let text = with_disks(FILE, DISK, "").replace("web &amp; mail", "&xxe;");
    assert!(matches!(read(&text), Err(OvfError::Entity { .. })));
    let text = with_disks(&FILE.replace("a.vmdk", "&xxe;"), DISK, "");
    assert!(matches!(read(&text), Err(OvfError::Attribute { .. })));
}

#[test]
fn bombs_of_elements_are_refused() {
    let deep = envelope(&format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000)));
    assert!(matches!(
        read(&deep),
        Err(OvfError::TooComplex {
            what: "levels of elements",
            ..
        })
    ));
    let wide = envelope(&"<a/>".repeat(100_000));
    assert!(matches!(
        read(&wide),
        Err(OvfError::TooComplex { what: "elements", .. })
    ));
    let attributes: String = (0..500).map(|n| format!(" a{n}='1'")).collect();
    let many = envelope(&format!("<a{attributes}/>").repeat(500));
    assert!(matches!(
        read(&many),
        Err(OvfError::TooComplex {
            what: "attributes",
            ..
        })
    ));
}

#[test]
fn broken_documents_are_refused() {
    for text in [
        "",
        "x",
        "<a",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<Envelope/>",
        "<a b='1' b='2'/>",
        "<a>\u{0}",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(matches!(parse(b"<a>\xff</a>"), Err(OvfError::Encoding)));
    assert!(matches!(read(&envelope("")), Err(OvfError::NoSystem)));
    let two = envelope("<VirtualSystemCollection><VirtualSystem/><VirtualSystem/></VirtualSystemCollection>");
    assert!(matches!(read(&two), Err(OvfError::ManySystems { count: 2 })));
}

#[test]
fn what_is_not_migrated_is_refused_by_name() {
    let delta = DISK.replace("ovf:fileRef", r#"ovf:parentRef="d0" ovf:fileRef"#);
    let chunked = FILE.replace("ovf:size", r#"ovf:chunkSize="10" ovf:size"#);
    let bzip = FILE.replace("ovf:size", r#"ovf:compression="bzip2" ovf:size"#);
    for (file, disk) in [(FILE, delta.as_str()), (&chunked, DISK), (&bzip, DISK)] {
        let error = read(&with_disks(file, disk, "")).unwrap_err();
        assert!(matches!(error, OvfError::Unsupported { .. }), "{error:?}");
    }
}

#[test]
fn ids_are_unique_and_lead_somewhere() {
    let twice = |text: &str| text.repeat(2);
    assert!(matches!(
        read(&with_disks(&twice(FILE), DISK, "")),
        Err(OvfError::Duplicate { what: "file", .. })
    ));
    assert!(matches!(
        read(&with_disks(FILE, &twice(DISK), "")),
        Err(OvfError::Duplicate { what: "disk", .. })
    ));
    assert!(matches!(
        read(&with_disks("", DISK, "")),
        Err(OvfError::Dangling { what: "file", .. })
    ));
    let lost = drive("5", "4", "0", "d9");
    assert!(matches!(
        read(&with_disks(FILE, DISK, &lost)),
        Err(OvfError::Dangling { what: "disk", .. })
    ));
    let shared = [drive("5", "4", "0", "d1"), drive("6", "4", "1", "d1")].concat();
    assert!(matches!(
        read(&with_disks(FILE, DISK, &shared)),
        Err(OvfError::Duplicate { .. })
    ));
}

#[test]
fn huge_and_odd_numbers_are_refused() {
    let capacity = |value: &str, unit: &str| {
        DISK.replace(r#"capacity="1""#, &format!(r#"capacity="{value}""#))
            .replace("byte * 2^30", unit)
    };
    for (value, unit) in [
        ("18446744073709551616", "byte"),
        ("9223372036854775808", "byte"),
        ("17179869184", "byte * 2^30"),
        ("-1", "byte"),
        ("+1", "byte"),
        ("1.5", "byte"),
        ("0", "byte"),
        ("${size}", "byte"),
    ] {
        let error = read(&with_disks(FILE, &capacity(value, unit), "")).unwrap_err();
        assert!(matches!(error, OvfError::Number { .. }), "{value}: {error:?}");
    }
    for unit in [
        "bit",
        "byte * 2^64",
        "byte * 2^-1",
        "byte * 0",
        "byte *",
        "2^10",
        "byte * 10^10^10",
        "byte / 2",
    ] {
        let error = read(&with_disks(FILE, &capacity("1", unit), "")).unwrap_err();
        assert!(matches!(error, OvfError::Unit { .. }), "{unit}: {error:?}");
    }
    let cpus = item(&[
        ("InstanceID", "1"),
        ("ResourceType", "3"),
        ("VirtualQuantity", "99999999999"),
    ]);
    assert!(matches!(
        read(&with_disks(FILE, DISK, &cpus)),
        Err(OvfError::Number { .. })
    ));
}

#[test]
fn units_are_those_of_the_standard_and_the_old_words() {
    for (text, bytes) in [
        ("byte", 1),
        ("byte * 2^30", 1 << 30),
        ("byte*2^20", 1 << 20),
        ("byte * 10^9", 1_000_000_000),
        ("byte * 1024 * 1024", 1 << 20),
        ("MegaBytes", 1 << 20),
        ("GigaBytes", 1 << 30),
    ] {
        assert_eq!(units::unit(text).unwrap(), bytes, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn units_never_panic_nor_wrap(value in ".{0,30}", unit in "(byte)?[ *^0-9a-zA-Z-]{0,30}") {
        if let Ok(bytes) = units::bytes(&value, Some(&unit), "capacity") {
            let exact = value.trim().parse::<u128>().unwrap() * u128::from(units::unit(&unit).unwrap());
            prop_assert_eq!(u128::from(bytes), exact);
        }
    }

    #[test]
    fn numbers_round_trip(value in 0..=i64::MAX as u64, power in 0_u32..63) {
        let product = u128::from(value) << power;
        let told = units::bytes(&value.to_string(), Some(&format!("byte * 2^{power}")), "capacity").ok();
        let fits = u64::try_from(product).ok().filter(|bytes| i64::try_from(*bytes).is_ok());
        prop_assert_eq!(told, fits);
    }

    #[test]
    fn noise_never_panics(text in "(<[a-zA-Z:/!?&;'\"= ]{0,12}>?|.){0,60}") {
        let _outcome = read(&text);
        let _outcome = read(&with_disks(FILE, DISK, &text));
    }
}
