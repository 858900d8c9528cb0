//! Where volumes can be made and of what kind: `listZones`, `listDiskOfferings`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::wire::{self, page};
use super::unknown;

/// The size of the offering that has one, in GiB.
pub(super) const FIXED_SIZE: u64 = 5;

pub(super) fn zones(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let zone = json!({
        "id": cloud.places.zone,
        "name": "z1",
        "allocationstate": "Enabled",
        "networktype": "Advanced",
        "localstorageenabled": false,
        "securitygroupsenabled": false,
        "tags": [],
    });
    found(call, vec![zone], "zone")
}

pub(super) fn disk_offerings(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    if call
        .params
        .id("zoneid")?
        .is_some_and(|zone| zone != cloud.places.zone)
    {
        return Err(unknown(&call.params, "zoneid"));
    }
    let custom = json!({
        "id": cloud.places.custom_offering,
        "name": "Custom",
        "displaytext": "Custom Disk",
        "disksize": 0,
        "iscustomized": true,
    });
    let fixed = json!({
        "id": cloud.places.fixed_offering,
        "name": "Small",
        "displaytext": "Small Disk, 5 GB",
        "disksize": FIXED_SIZE,
        "iscustomized": false,
    });
    let all = [custom, fixed].map(|mut offering| {
        offering["storagetype"] = json!("shared");
        offering["provisioningtype"] = json!("thin");
        offering["state"] = json!("Active");
        offering["encrypt"] = json!(false);
        offering
    });
    found(call, all.into(), "diskoffering")
}

/// Those of them that `id`, `name` and `keyword` leave.
fn found(call: &Call, all: Vec<Value>, kind: &str) -> Result<Value, Refusal> {
    let id = call.params.id("id")?.map(|id| id.to_string());
    if id
        .as_ref()
        .is_some_and(|id| all.iter().all(|entry| entry["id"] != id.as_str()))
    {
        return Err(unknown(&call.params, "id"));
    }
    let name = call.params.get("name");
    let keyword = call.params.get("keyword").map(str::to_lowercase);
    let left = all.into_iter().filter(|entry| {
        let called = entry["name"].as_str().unwrap_or_default();
        id.as_ref().is_none_or(|id| entry["id"] == id.as_str())
            && name.is_none_or(|name| name == called)
            && keyword
                .as_ref()
                .is_none_or(|word| called.to_lowercase().contains(word))
    });
    let (shown, total) = page(&call.params, left.collect())?;
    Ok(wire::list(kind, shown, total))
}
