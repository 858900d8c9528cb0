//! The devices of a machine's hardware: its disks, read from whatever backing they have.

use std::collections::HashSet;

use super::super::datastore::DatastorePath;
use super::super::reference::Reference;
use super::super::soap::Element;
use super::places::Places;
use super::{Disk, DiskKind, DiskMode, Provisioning};

/// The disks of a machine's hardware, in the order of their keys.
pub(in super::super) fn disks(hardware: &Element, places: &Places) -> Vec<Disk> {
    let shared: HashSet<&str> = hardware.children("device").filter_map(shared_bus).collect();
    let mut disks: Vec<Disk> = hardware
        .children("device")
        .filter(|device| device.xsi_type() == "VirtualDisk" || device.child("capacityInKB").is_some())
        .map(|device| {
            let mut disk = disk(device, places);
            disk.is_shared |= device
                .child_text("controllerKey")
                .is_some_and(|key| shared.contains(key));
            disk
        })
        .collect();
    disks.sort_by_key(|disk| disk.key);
    disks
}

/// The key of a controller whose disks several machines may use.
fn shared_bus(device: &Element) -> Option<&str> {
    let sharing = device.child_text("sharedBus")?;
    device.child_text("key").filter(|_| sharing != "noSharing")
}

fn disk(device: &Element, places: &Places) -> Disk {
    let key = device.child_number("key").unwrap_or_default();
    let backing = device.child("backing");
    let text = |name| backing.and_then(|backing| backing.child_text(name));
    let path = text("fileName").map(str::to_owned);
    let (datastore, datastore_type) = datastore(backing, path.as_deref(), places);
    let sharing = text("sharing").or_else(|| device.child_text("sharing"));
    Disk {
        id: format!("disk-{key}"),
        key,
        uuid: text("uuid").map(str::to_owned),
        parents: backing.map(parents).unwrap_or_default(),
        label: device
            .at(&["deviceInfo", "label"])
            .and_then(Element::trimmed)
            .map_or_else(|| format!("disk {key}"), str::to_owned),
        capacity_bytes: capacity(device),
        provisioning: backing.map_or(Provisioning::Unknown, provisioning),
        mode: mode(text("diskMode")),
        kind: backing.map_or(DiskKind::Other, |backing| {
            kind(backing, datastore_type.as_deref())
        }),
        is_shared: sharing == Some("sharingMultiWriter"),
        is_encrypted: backing.is_some_and(|backing| backing.child("keyId").is_some()),
        is_tracked: None,
        change_id: text("changeId").and_then(|id| id.parse().ok()),
        path,
        datastore,
        datastore_type,
    }
}

/// In bytes where the host tells it so, else in KiB: API 5.0 knows nothing else. A zero means: not told.
fn capacity(device: &Element) -> Option<u64> {
    let told = |name| device.child_number::<u64>(name).filter(|size| *size > 0);
    told("capacityInBytes").or_else(|| told("capacityInKB")?.checked_mul(1024))
}

fn datastore(
    backing: Option<&Element>,
    path: Option<&str>,
    places: &Places,
) -> (Option<String>, Option<String>) {
    let known = backing
        .and_then(|backing| backing.child("datastore"))
        .and_then(Reference::of)
        .and_then(|datastore| places.datastores.get(&datastore.id));
    let in_path = || Some(path?.parse::<DatastorePath>().ok()?.datastore().to_owned());
    match known {
        Some(store) => (Some(store.name.clone()), store.kind.clone()),
        None => (in_path(), None),
    }
}

fn parents(backing: &Element) -> Vec<String> {
    let links = std::iter::successors(backing.child("parent"), |link| link.child("parent"));
    links
        .map(|link| link.child_text("fileName").unwrap_or_default().to_owned())
        .collect()
}

fn provisioning(backing: &Element) -> Provisioning {
    let thin = backing.child_flag("thinProvisioned");
    match (thin, backing.child_flag("eagerlyScrub")) {
        (Some(true), _) => Provisioning::Thin,
        (_, Some(true)) => Provisioning::ThickEagerZeroed,
        (Some(false), _) => Provisioning::ThickLazyZeroed,
        // A flat disk that says neither is thick: both fields are only there when they are true on old hosts.
        (None, _) if backing.xsi_type() == "VirtualDiskFlatVer2BackingInfo" => Provisioning::ThickLazyZeroed,
        (None, _) => Provisioning::Unknown,
    }
}

fn mode(mode: Option<&str>) -> DiskMode {
    match mode {
        None | Some("persistent") => DiskMode::Persistent,
        Some("independent_persistent") => DiskMode::IndependentPersistent,
        Some("independent_nonpersistent") => DiskMode::IndependentNonpersistent,
        Some(_) => DiskMode::Other,
    }
}

fn kind(backing: &Element, datastore_type: Option<&str>) -> DiskKind {
    let name = backing.xsi_type();
    let is = |prefix: &str| name.starts_with(prefix);
    if is("VirtualDiskRawDiskMapping") {
        return match backing.child_text("compatibilityMode") {
            Some("virtualMode") => DiskKind::RdmVirtual,
            _ => DiskKind::RdmPhysical,
        };
    }
    match datastore_type {
        Some("VVOL") => DiskKind::VVol,
        Some("vsan") => DiskKind::Vsan,
        _ if is("VirtualDiskFlat") => DiskKind::Flat,
        _ if is("VirtualDiskSeSparse") => DiskKind::SeSparse,
        _ if is("VirtualDiskSparse") => DiskKind::Sparse,
        _ => DiskKind::Other,
    }
}
