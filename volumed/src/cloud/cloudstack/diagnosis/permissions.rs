//! Which commands the role of our keys may use, and whether jobs take ids of ours.

use std::collections::HashMap;

use crate::cloud::cloudstack::error::Failure;
use crate::cloud::cloudstack::wire::ApiEntry;
use crate::model::Check;

/// Every command that the provider uses and cannot do without.
const NEEDED: &[&str] = &[
    "attachVolume",
    "createSnapshot",
    "createVolume",
    "deleteSnapshot",
    "deleteVolume",
    "detachVolume",
    "listCapabilities",
    "listDiskOfferings",
    "listSnapshots",
    "listVirtualMachines",
    "listVolumes",
    "listZones",
    "queryAsyncJobResult",
    "resizeVolume",
    "revertSnapshot",
];
/// Commands without which it does a little less, and what.
const USEFUL: &[(&str, &str)] = &[
    (
        "createTags",
        "a volume that somebody renames is not found by its name any more",
    ),
    (
        "listHypervisorCapabilities",
        "the limit of data disks is learned from a refusal; set `cloudstack.max_data_disks`",
    ),
    (
        "listVMSnapshot",
        "snapshots of the VM, with which nothing can be attached, are not seen beforehand",
    ),
];
/// The commands that our role may use, in lower case, each with its parameters.
pub(super) fn commands_in(
    mut content: serde_json::Map<String, serde_json::Value>,
) -> HashMap<String, Vec<String>> {
    let entries = content.remove("api").unwrap_or_default();
    let entries: Vec<ApiEntry> = serde_json::from_value(entries).unwrap_or_default();
    let named = |entry: ApiEntry| {
        let parameters = entry
            .params
            .into_iter()
            .map(|parameter| parameter.name.to_lowercase());
        (entry.name.to_lowercase(), parameters.collect())
    };
    entries.into_iter().map(named).collect()
}

pub(super) type Commands = Result<HashMap<String, Vec<String>>, Failure>;

pub(super) fn permissions(commands: &Commands) -> Vec<Check> {
    let commands = match commands {
        Ok(commands) if !commands.is_empty() => commands,
        _ => {
            let advice = "let the role use listApis, or compare it with the role in the documentation";
            return vec![Check::warning(
                "permissions",
                "the role does not tell which commands it may use",
                advice,
            )];
        }
    };
    let may = |name: &str| commands.contains_key(&name.to_lowercase());
    let needed = NEEDED.iter().map(|name| {
        let check = format!("permission {name}");
        if may(name) {
            Check::passed(check, "allowed")
        } else {
            Check::failed(
                check,
                "the role must not use it",
                format!("allow {name} in the role of these keys"),
            )
        }
    });
    let useful = USEFUL.iter().map(|(name, without)| {
        let check = format!("permission {name}");
        if may(name) {
            Check::passed(check, "allowed")
        } else {
            Check::warning(
                check,
                format!("the role must not use it: {without}"),
                format!("allow {name} if you can"),
            )
        }
    });
    needed.chain(useful).collect()
}

pub(super) fn job_ids(commands: &Commands, seen: Option<bool>) -> Check {
    let name = "customjobid";
    let documented = commands
        .as_ref()
        .ok()
        .and_then(|commands| commands.get("attachvolume"))
        .is_some_and(|parameters| parameters.iter().any(|parameter| parameter == name));
    match seen {
        Some(true) => Check::passed(
            name,
            "the server takes job ids of ours: lost answers can be looked up",
        ),
        Some(false) => Check::warning(
            name,
            "the server chooses the ids of jobs: a lost answer is only told by the volume's state",
            "nothing, or a newer CloudStack",
        ),
        None if documented => Check::passed(name, "the server knows job ids of ours"),
        None => Check::warning(
            name,
            "not known before the first change",
            "nothing: the first job tells",
        ),
    }
}
