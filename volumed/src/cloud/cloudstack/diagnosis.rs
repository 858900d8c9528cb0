//! An examination of everything that the provider needs, each thing by itself, with what to do where it is not well.

use std::collections::HashMap;

use super::api::Api;
use super::command::Command;
use super::error::Failure;
use super::machine::{self, Detail};
use super::open_error::CloudStackOpenError;
use super::place::{self, Project, Zone};
use super::room::told_limit;
use super::wire::{ApiEntry, Capability, Machine, Named, Volume};
use crate::config::{CloudStack as Settings, VolumeIdentity};
use crate::model::Check;

/// Every command that the provider uses and cannot do without.
const NEEDED: &[&str] = &[
    "attachVolume",
    "createSnapshot",
    "createVolume",
    "deleteSnapshot",
    "deleteVolume",
    "detachVolume",
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
const KEYS: &str = "check `cloudstack.credentials_file`, and that the account is enabled";
/// A clock that is so far off is as good as any.
const FINE: i64 = 5;

/// That the provider could not even begin.
pub(super) fn cannot_start(error: &CloudStackOpenError) -> Check {
    let name = match error {
        CloudStackOpenError::Credentials(_) => "credentials",
        CloudStackOpenError::Named { .. } | CloudStackOpenError::Cloud(_) => "cloudstack",
        CloudStackOpenError::Url { .. } | CloudStackOpenError::Certificates { .. } => "url",
    };
    Check::failed(
        name,
        with_causes(error),
        "correct the section `cloudstack` of the configuration",
    )
}

/// Looks at everything. `our_ids` is what the jobs of this process have shown about ids of ours.
pub(super) async fn examine(api: &Api, settings: &Settings, our_ids: Option<bool>) -> Vec<Check> {
    let capability = place::capability(api).await;
    let mut checks = reachable(settings, &capability);
    let Ok(capability) = capability else {
        return checks;
    };
    checks.push(clock(api, settings));
    let listing = Command::read("listApis").perhaps_denied();
    let commands = api.call(&listing).await.map(commands_in);
    checks.extend(permissions(&commands));
    checks.push(job_ids(&commands, our_ids));
    checks.push(snapshots(&capability));
    checks.push(zone(api, settings).await);
    checks.push(offering(api, settings, &capability).await);
    let (project, check) = project(api, settings).await;
    checks.extend(check);
    checks.extend(own_vm(api, settings, project.as_deref()).await);
    checks.push(identity(settings));
    checks
}

fn reachable(settings: &Settings, capability: &Result<Capability, Failure>) -> Vec<Check> {
    let url = &settings.url;
    match capability {
        Ok(capability) => {
            let version = capability
                .cloudstackversion
                .as_deref()
                .unwrap_or("of an unknown version");
            vec![
                Check::passed("url", format!("CloudStack {version} answers at {url}")),
                Check::passed("credentials", "the keys are accepted"),
            ]
        }
        Err(failure) if failure.is_denial() => vec![
            Check::passed("url", format!("CloudStack answers at {url}")),
            Check::failed("credentials", with_causes(failure), KEYS),
        ],
        Err(failure) => vec![Check::failed(
            "url",
            with_causes(failure),
            "check `cloudstack.url`, `cloudstack.ca_file`, and the way to the management server",
        )],
    }
}

fn clock(api: &Api, settings: &Settings) -> Check {
    let most = settings.max_clock_skew.as_secs();
    match api.skew().map(|skew| skew.as_secs()) {
        None => Check::warning("clock", "the answers carry no date", "compare the clocks by hand"),
        Some(off) if off.unsigned_abs() > most => Check::failed(
            "clock",
            format!("the server's clock is {off} s ahead; beyond {most} s nothing is changed"),
            "set this machine's clock, and keep it set (NTP)",
        ),
        Some(off) if off.abs() > FINE => Check::warning(
            "clock",
            format!("the server's clock is {off} s ahead"),
            "set this machine's clock, and keep it set (NTP)",
        ),
        Some(off) => Check::passed("clock", format!("within {} s of the server's", off.abs() + 1)),
    }
}

/// The commands that our role may use, in lower case, each with its parameters.
fn commands_in(mut content: serde_json::Map<String, serde_json::Value>) -> HashMap<String, Vec<String>> {
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

type Commands = Result<HashMap<String, Vec<String>>, Failure>;

fn permissions(commands: &Commands) -> Vec<Check> {
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

fn job_ids(commands: &Commands, seen: Option<bool>) -> Check {
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

fn snapshots(capability: &Capability) -> Check {
    match capability.kvmsnapshotenabled {
        Some(false) => Check::warning(
            "snapshots",
            "snapshots of attached volumes are switched off",
            "set the global setting `kvm.snapshot.enabled`, or take snapshots of detached volumes only",
        ),
        _ => Check::passed("snapshots", "not switched off"),
    }
}

async fn zone(api: &Api, settings: &Settings) -> Check {
    match place::named::<Zone>(api, "zone", &settings.zone).await {
        Ok(_) => Check::passed("zone", format!("`{}` is there, once", settings.zone)),
        Err(error) => Check::failed(
            "zone",
            with_causes(&error),
            "set `cloudstack.zone` to one of these",
        ),
    }
}

async fn offering(api: &Api, settings: &Settings, capability: &Capability) -> Check {
    let bound = |gib: Option<u64>| gib.map_or("?".to_owned(), |gib| gib.to_string());
    let (least, most) = (
        bound(capability.customdiskofferingminsize),
        bound(capability.customdiskofferingmaxsize),
    );
    match place::custom_offering(api, settings).await {
        Ok(offering) => Check::passed(
            "disk offering",
            format!("`{}`, from {least} to {most} GiB", offering.name),
        ),
        Err(error) => Check::failed(
            "disk offering",
            with_causes(&error),
            "set `cloudstack.disk_offering` to an offering with a custom size that these keys may use",
        ),
    }
}

async fn project(api: &Api, settings: &Settings) -> (Option<String>, Option<Check>) {
    let Some(wanted) = &settings.project else {
        return (None, None);
    };
    match place::named::<Project>(api, "project", wanted).await {
        Ok(found) => {
            let id = place::HasName::id(&found).to_owned();
            (
                Some(id),
                Some(Check::passed("project", format!("`{wanted}` is there, once"))),
            )
        }
        Err(error) => {
            let advice = "set `cloudstack.project` to a project that these keys belong to";
            (None, Some(Check::failed("project", with_causes(&error), advice)))
        }
    }
}

async fn own_vm(api: &Api, settings: &Settings, project: Option<&str>) -> Vec<Check> {
    let failed = |seen: String, advice: &str| vec![Check::failed("own VM", seen, advice)];
    let id = match machine::claimed(settings).await {
        Ok(id) => id,
        Err(why) => return failed(why, "set `cloudstack.vm_id`"),
    };
    match machine::machine(api, &id, project, Detail::Details).await {
        Ok(Some(found)) => {
            let mut checks = vec![running(&found), bus(&found)];
            checks.push(vm_snapshots(api, &id, project).await);
            checks.push(slots(api, settings, &id, project).await);
            checks
        }
        Ok(None) => failed(format!("CloudStack shows no VM {id}"), &machine::unknown(&id)),
        Err(failure) => failed(with_causes(&failure), "see the other checks"),
    }
}

fn running(machine: &Machine) -> Check {
    let seen = format!("`{}` ({}) is {}", machine.name, machine.id, machine.state);
    match machine.state.as_str() {
        "Running" => Check::passed("own VM", seen),
        _ => Check::failed("own VM", seen, "is `cloudstack.vm_id` the id of this VM?"),
    }
}

fn bus(machine: &Machine) -> Check {
    let hypervisor = machine.hypervisor.as_deref().unwrap_or("unknown");
    if !hypervisor.eq_ignore_ascii_case("KVM") && hypervisor != "unknown" {
        let advice = "set `cloudstack.identity = \"appearance\"`, or use an appliance on KVM";
        return Check::failed("disk bus", format!("{hypervisor} passes no serials on"), advice);
    }
    match machine
        .details
        .get("rootDiskController")
        .and_then(|bus| bus.as_str())
    {
        Some(bus @ ("virtio" | "scsi" | "virtio-scsi")) => {
            Check::passed("disk bus", format!("{bus}: disks carry their serial"))
        }
        Some(bus) => Check::warning(
            "disk bus",
            format!("the root disk is on {bus}; disks that are attached later come on virtio"),
            "use virtio or scsi, so that disks keep their bus over a restart",
        ),
        None => Check::passed("disk bus", "the one of the VM's OS type"),
    }
}

async fn vm_snapshots(api: &Api, id: &str, project: Option<&str>) -> Check {
    let command = Command::read("listVMSnapshot")
        .with("virtualmachineid", id)
        .with_some("projectid", project)
        .perhaps_denied();
    let name = "VM snapshots";
    match api.list::<Named>(&command, "vmSnapshot").await {
        Ok(found) if found.is_empty() => Check::passed(name, "none"),
        Ok(found) => Check::failed(
            name,
            format!(
                "the VM has {}: with them CloudStack neither attaches nor detaches",
                found.len()
            ),
            "delete the snapshots of this VM (those of volumes may stay)",
        ),
        Err(failure) => Check::warning(name, with_causes(&failure), "see that this VM has no snapshots"),
    }
}

async fn slots(api: &Api, settings: &Settings, id: &str, project: Option<&str>) -> Check {
    let name = "free slots";
    let command = Command::read("listVolumes")
        .with("virtualmachineid", id)
        .with_some("projectid", project);
    let disks = match api.list::<Volume>(&command, "volume").await {
        Ok(volumes) => volumes.iter().filter(|volume| volume.is_data_disk()).count(),
        Err(failure) => return Check::failed(name, with_causes(&failure), "see the other checks"),
    };
    let limit = match settings.max_data_disks {
        Some(limit) => Some(limit),
        None => told_limit(api).await,
    };
    let used = u64::try_from(disks).unwrap_or(u64::MAX);
    match limit {
        Some(limit) if used >= limit => Check::failed(
            name,
            format!("none: {used} of {limit} data disks are attached"),
            "detach a volume, or have `maxdatavolumeslimit` of the hypervisor's capabilities raised",
        ),
        Some(limit) => Check::passed(name, format!("{} of {limit}", limit - used)),
        None => Check::warning(
            name,
            format!("{used} data disks are attached; the limit is not told to these keys"),
            "set `cloudstack.max_data_disks` to what the administrator of the cloud says",
        ),
    }
}

fn identity(settings: &Settings) -> Check {
    match settings.identity {
        VolumeIdentity::Serial => Check::passed("identity", "by serial"),
        VolumeIdentity::Appearance => Check::warning(
            "identity",
            "by appearance: one attach at a time, and nothing tells two disks of one size apart afterwards",
            "use KVM and `cloudstack.identity = \"serial\"` where you can",
        ),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
