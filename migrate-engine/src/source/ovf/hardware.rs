//! The virtual hardware of a machine: processors, memory, network cards, and which disk sits where.

use super::xml::Element;
use super::{Disk, OvfError, units};
use crate::source::machine::{Firmware, SourceNetwork};
use crate::source::name::printable;

// Resource types of CIM_ResourceAllocationSettingData.
const PROCESSOR: u64 = 3;
const MEMORY: u64 = 4;
const ETHERNET: u64 = 10;
const DISK: u64 = 17;

/// What a hardware section says.
#[derive(Debug, Default)]
pub(super) struct Hardware {
    pub(super) cpus: Option<u32>,
    pub(super) memory_mb: Option<u64>,
    pub(super) firmware: Option<Firmware>,
    pub(super) networks: Vec<SourceNetwork>,
    /// In the order in which the machine sees them.
    drives: Vec<Drive>,
}

/// A disk in its place.
#[derive(Debug)]
struct Drive {
    resource: String,
    label: Option<String>,
}

/// Reads `VirtualHardwareSection`, as far as it holds in this configuration.
pub(super) fn read(system: &Element, configuration: &Option<String>) -> Result<Hardware, OvfError> {
    let Some(section) = system.child("VirtualHardwareSection") else {
        return Ok(Hardware::default());
    };
    let items = items(section, configuration.as_deref())?;
    let mut hardware = Hardware {
        firmware: firmware(system, section),
        ..Hardware::default()
    };
    for item in &items {
        match item.kind {
            PROCESSOR => hardware.cpus = Some(cpus(item)?),
            MEMORY => hardware.memory_mb = Some(memory_mb(item)?),
            ETHERNET => hardware.networks.push(network(item)),
            _ => {}
        }
    }
    hardware.drives = drives(&items)?;
    Ok(hardware)
}

/// Brings `disks` into the order of the hardware. Disks that no hardware refers to come last, with a note.
pub(super) fn in_order(
    disks: Vec<Disk>,
    hardware: &Hardware,
    notes: &mut Vec<String>,
) -> Result<Vec<Disk>, OvfError> {
    let mut left = disks;
    let mut ordered: Vec<Disk> = Vec::new();
    for drive in &hardware.drives {
        let id = drive.resource.trim_start_matches("ovf:").trim_start_matches('/');
        let shown = printable(&drive.resource);
        let Some(id) = id.strip_prefix("disk/") else {
            let what = "is not made from the disk section: export it anew with disks of its own";
            return Err(OvfError::Unsupported {
                element: format!("the drive of `{shown}`"),
                what,
            });
        };
        if ordered.iter().any(|disk| disk.id == id) {
            return Err(OvfError::Duplicate {
                what: "drive of disk",
                id: printable(id),
            });
        }
        let Some(at) = left.iter().position(|disk| disk.id == id) else {
            let from = "the hardware section".to_owned();
            return Err(OvfError::Dangling {
                from,
                what: "disk",
                id: printable(id),
            });
        };
        let mut disk = left.remove(at);
        disk.label.clone_from(&drive.label);
        ordered.push(disk);
    }
    if !ordered.is_empty() {
        let unused = left.iter().map(|disk| {
            format!(
                "the disk {} is not attached to the machine's hardware; it comes last",
                printable(&disk.id)
            )
        });
        notes.extend(unused);
    }
    ordered.append(&mut left);
    Ok(ordered)
}

/// A piece of hardware.
struct Item<'a> {
    id: &'a str,
    kind: u64,
    element: &'a Element,
}

/// The pieces that hold in this configuration; one for a configuration replaces the general one of the same id.
fn items<'a>(section: &'a Element, configuration: Option<&str>) -> Result<Vec<Item<'a>>, OvfError> {
    let mut items: Vec<Item<'a>> = Vec::new();
    for element in &section.children {
        if !["Item", "StorageItem", "EthernetPortItem"].contains(&element.name.as_str()) {
            continue;
        }
        if let Some(only_in) = element.attribute("configuration")
            && !only_in.split_whitespace().any(|name| Some(name) == configuration)
        {
            continue;
        }
        let missing = |what| OvfError::Missing {
            element: "a hardware item".to_owned(),
            what,
        };
        let id = element
            .child_text("InstanceID")
            .or_else(|| element.child_text("InstanceId"));
        let id = id.ok_or_else(|| missing("an InstanceID"))?;
        let kind = element
            .child_text("ResourceType")
            .ok_or_else(|| missing("a ResourceType"))?;
        let item = Item {
            id,
            kind: units::number(kind, "resource type")?,
            element,
        };
        match items.iter_mut().find(|other| other.id == id) {
            Some(other) if element.attribute("configuration").is_some() => *other = item,
            Some(_) => {
                return Err(OvfError::Duplicate {
                    what: "hardware item",
                    id: printable(id),
                });
            }
            None => items.push(item),
        }
    }
    Ok(items)
}

fn cpus(item: &Item<'_>) -> Result<u32, OvfError> {
    let text = item.element.child_text("VirtualQuantity").unwrap_or("1");
    let count = units::number(text, "number of processors")?;
    let count = u32::try_from(count).ok().filter(|count| *count > 0);
    count.ok_or_else(|| OvfError::Number {
        what: "number of processors",
        value: printable(text),
    })
}

fn memory_mb(item: &Item<'_>) -> Result<u64, OvfError> {
    let missing = || OvfError::Missing {
        element: "the memory".to_owned(),
        what: "a VirtualQuantity",
    };
    let quantity = item.element.child_text("VirtualQuantity").ok_or_else(missing)?;
    // The standard's default unit for memory is the mebibyte in practice: all exporters that omit it mean that.
    let unit = item
        .element
        .child_text("AllocationUnits")
        .unwrap_or("byte * 2^20");
    Ok(units::bytes(quantity, Some(unit), "amount of memory")?.div_ceil(1 << 20))
}

fn network(item: &Item<'_>) -> SourceNetwork {
    let text = |name| item.element.child_text(name).map(shown);
    SourceNetwork {
        label: text("ElementName").unwrap_or_else(|| shown(item.id)),
        network_name: text("Connection"),
        adapter_type: text("ResourceSubType"),
        mac_address: text("Address"),
    }
}

/// The disks by controller and address on it. Controllers come in the order of their kind's first use, then by number.
fn drives(items: &[Item<'_>]) -> Result<Vec<Drive>, OvfError> {
    let mut placed = Vec::new();
    for item in items.iter().filter(|item| item.kind == DISK) {
        let missing = || OvfError::Missing {
            element: "a drive".to_owned(),
            what: "a HostResource",
        };
        let resource = item
            .element
            .child_text("HostResource")
            .ok_or_else(missing)?
            .to_owned();
        let parent = item.element.child_text("Parent");
        let controller = items.iter().position(|other| Some(other.id) == parent);
        let place = match controller.map(|at| &items[at]) {
            Some(parent) => {
                let kind = items.iter().position(|other| other.kind == parent.kind);
                (kind, address(parent, "Address")?, controller)
            }
            // Without a controller: where it stands in the document, after all that have one.
            None => (Some(usize::MAX), 0, None),
        };
        let label = item.element.child_text("ElementName").map(shown);
        placed.push((
            place,
            address(item, "AddressOnParent")?,
            Drive { resource, label },
        ));
    }
    placed.sort_by_key(|(place, address, _)| (*place, *address));
    Ok(placed.into_iter().map(|(_, _, drive)| drive).collect())
}

fn address(item: &Item<'_>, name: &str) -> Result<u64, OvfError> {
    // PCI addresses and the like are no numbers to sort by; the document's order stands then.
    match item.element.child_text(name) {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => units::number(text, "address"),
        _ => Ok(0),
    }
}

/// VMware writes `vmw:Config key="firmware"`, VirtualBox a `Firmware` element.
fn firmware(system: &Element, section: &Element) -> Option<Firmware> {
    let configured = section
        .children
        .iter()
        .filter(|element| ["Config", "ExtraConfig"].contains(&element.name.as_str()))
        .find(|element| element.attribute("key") == Some("firmware"))
        .and_then(|element| element.attribute("value"));
    let is_machine = |element: &&Element| element.name == "Firmware" && element.attribute("type").is_some();
    let told = configured.or_else(|| {
        system
            .walk()
            .into_iter()
            .find(is_machine)
            .and_then(|element| element.attribute("type"))
    })?;
    match told.to_ascii_lowercase().as_str() {
        "bios" => Some(Firmware::Bios),
        other if other.starts_with("efi") => Some(Firmware::Efi),
        _ => None,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
