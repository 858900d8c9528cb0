//! Which disks track their changes: the machine's flag alone does not say it.

use std::collections::HashMap;

use super::super::soap::Element;
use super::Disk;

/// Marks each disk as tracked or not, as far as that is known.
///
/// The settings of a machine hold `scsi0:1.ctkEnabled` per disk. A disk that was added later may lack it although the
/// machine's flag is on; where no disk has the setting, it says nothing.
pub(super) fn mark(disks: &mut [Disk], is_enabled: bool, hardware: &Element, settings: Option<&Element>) {
    let nodes = nodes(hardware);
    let flags = settings.map(flags).unwrap_or_default();
    for disk in disks {
        let flag = nodes.get(&disk.key).and_then(|node| flags.get(node)).copied();
        disk.is_tracked = match flag {
            _ if !is_enabled => Some(false),
            Some(flag) => Some(flag),
            None if disk.change_id.is_some() => Some(true),
            None if flags.is_empty() => None,
            None => Some(false),
        };
    }
}

/// `scsi0:1` and such of the disks, by their keys.
fn nodes(hardware: &Element) -> HashMap<i32, String> {
    let controllers: HashMap<&str, (&str, &str)> = hardware
        .children("device")
        .filter_map(|device| {
            let bus = device.child_text("busNumber")?;
            Some((device.child_text("key")?, (prefix(device.xsi_type())?, bus)))
        })
        .collect();
    hardware
        .children("device")
        .filter_map(|device| {
            let (prefix, bus) = controllers.get(device.child_text("controllerKey")?)?;
            let unit = device.child_text("unitNumber")?;
            Some((device.child_number("key")?, format!("{prefix}{bus}:{unit}")))
        })
        .collect()
}

fn prefix(controller: &str) -> Option<&'static str> {
    match controller {
        "VirtualIDEController" => Some("ide"),
        "VirtualNVMEController" => Some("nvme"),
        name if name.contains("AHCI") || name.contains("SATA") => Some("sata"),
        name if name.contains("SCSI") || name.contains("Lsi") || name.contains("BusLogic") => Some("scsi"),
        _ => None,
    }
}

/// The settings `….ctkEnabled` by their nodes.
fn flags(settings: &Element) -> HashMap<String, bool> {
    settings
        .children
        .iter()
        .filter_map(|setting| {
            let (node, name) = setting.child_text("key")?.rsplit_once('.')?;
            let is_on = setting.child_text("value")?.eq_ignore_ascii_case("true");
            name.eq_ignore_ascii_case("ctkEnabled")
                .then(|| (node.to_ascii_lowercase(), is_on))
        })
        .collect()
}
