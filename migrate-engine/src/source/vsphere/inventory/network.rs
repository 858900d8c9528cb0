//! A network card, and what it is connected to.

use std::collections::HashMap;

use super::super::reference::Reference;
use super::super::soap::Element;
use super::places::Places;

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCard {
    /// The key of the device in its machine.
    pub key: i32,
    /// What people call it, `Network adapter 1`.
    pub label: String,
    /// The network's name, as far as the vCenter tells it.
    pub network_name: Option<String>,
    /// The kind of network: `standard`, `distributed`, `opaque`, or `unknown`.
    pub network_type: &'static str,
    /// The kind of card, `Vmxnet3`.
    pub adapter_type: String,
    /// Its address.
    pub mac_address: Option<String>,
    /// Whether it is connected now, or, powered off, will be.
    pub is_connected: bool,
}

/// The cards of a machine's hardware, in the order of their keys.
pub(super) fn cards(hardware: &Element, places: &Places) -> Vec<NetworkCard> {
    let devices = hardware.children("device");
    let mut cards: Vec<NetworkCard> = devices.filter_map(|device| card(device, places)).collect();
    cards.sort_by_key(|card| card.key);
    cards
}

/// The card that `device` is, if it is one: whatever has an address is a card.
fn card(device: &Element, places: &Places) -> Option<NetworkCard> {
    device.child("macAddress")?;
    let info = device.child("deviceInfo");
    let backing = device.child("backing");
    let (network_type, known_name) =
        backing.map_or(("unknown", None), |backing| network(backing, &places.networks));
    // The summary of a card on a standard switch is the network's name; others say more words in it.
    let summary = || {
        info.filter(|_| network_type == "standard")
            .and_then(|info| info.child_text("summary"))
            .map(str::to_owned)
    };
    let adapter = device.xsi_type();
    let state = device.child("connectable");
    let flag = |name| state.and_then(|state| state.child_flag(name)).unwrap_or(false);
    Some(NetworkCard {
        key: device.child_number("key").unwrap_or_default(),
        label: info
            .and_then(|info| info.child_text("label"))
            .unwrap_or_default()
            .to_owned(),
        network_name: known_name.or_else(summary),
        network_type,
        adapter_type: adapter.strip_prefix("Virtual").unwrap_or(adapter).to_owned(),
        mac_address: device.child_text("macAddress").map(str::to_owned),
        is_connected: flag("connected") || flag("startConnected"),
    })
}

fn network(backing: &Element, names: &HashMap<String, String>) -> (&'static str, Option<String>) {
    let named = |id: &str| Some(names.get(id).cloned().unwrap_or_else(|| id.to_owned()));
    if let Some(key) = backing.at(&["port", "portgroupKey"]).and_then(Element::trimmed) {
        return ("distributed", named(key));
    }
    if let Some(id) = backing.child_text("opaqueNetworkId") {
        return ("opaque", named(id));
    }
    let by_reference = backing
        .child("network")
        .and_then(Reference::of)
        .and_then(|network| names.get(&network.id).cloned());
    let by_name = || backing.child_text("deviceName").map(str::to_owned);
    ("standard", by_reference.or_else(by_name))
}
