//! What the server can do: `listCapabilities`, `listApis`, `listHypervisorCapabilities`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::cloud::{Call, Cloud};
use super::super::refusal::Refusal;
use super::super::wire::{self, page};
use super::{COMMANDS, Kind};

/// `customdiskofferingminsize` in GiB.
pub(super) const SMALLEST: u64 = 1;
/// `customdiskofferingmaxsize` in GiB.
pub(super) const LARGEST: u64 = 1024;

pub(super) fn list(cloud: &Arc<Cloud>, _: &Call) -> Result<Value, Refusal> {
    let mut capability = json!({
        "cloudstackversion": "4.22.1.0",
        "customdiskofferingminsize": SMALLEST,
        "customdiskofferingmaxsize": LARGEST,
        "kvmsnapshotenabled": true,
        "allowuserexpungerecovervolume": true,
        "securitygroupsenabled": false,
        "userpublictemplateenabled": true,
    });
    if let Some(limit) = cloud.state().settings.rate_limit {
        capability["apilimitinterval"] = json!(limit.interval.as_secs());
        capability["apilimitmax"] = json!(limit.calls);
    }
    Ok(json!({"capability": capability}))
}

/// The commands that the caller's role permits.
pub(super) fn apis(_: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let wanted = call.params.get("name");
    let apis: Vec<_> = COMMANDS
        .iter()
        .filter(|command| command.is_permitted(&call.user) && wanted.is_none_or(|name| name == command.name))
        .map(|command| json!({"name": command.name, "isasync": command.kind == Kind::Job, "params": []}))
        .collect();
    if let (Some(name), true) = (wanted, apis.is_empty()) {
        return Err(Refusal::invalid(format!(
            "API name {name} does not exist or is not available for the account"
        )));
    }
    let total = apis.len();
    Ok(wire::list("api", apis, total))
}

pub(super) fn hypervisors(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let most = cloud.state().settings.most_data_volumes;
    let wanted = call.params.get("hypervisor");
    let all: Vec<_> = ["default"]
        .into_iter()
        .filter(|_| wanted.is_none_or(|name| name.eq_ignore_ascii_case("KVM")))
        .map(|version| {
            json!({
                "id": cloud.places.pool,
                "hypervisor": "KVM",
                "hypervisorversion": version,
                "maxdatavolumeslimit": most,
                "maxguestslimit": 50,
                "maxhostspercluster": 0,
                "securitygroupenabled": true,
                "storagemotionenabled": false,
            })
        })
        .collect();
    let (shown, total) = page(&call.params, all)?;
    Ok(wire::list("hypervisorcapability", shown, total))
}
