//! The VM that the daemon runs in: there, running, with disks that carry serials, without snapshots, with free slots.

use super::with_causes;
use crate::cloud::cloudstack::api::Api;
use crate::cloud::cloudstack::command::Command;
use crate::cloud::cloudstack::machine::{self, Detail};
use crate::cloud::cloudstack::room::told_limit;
use crate::cloud::cloudstack::wire::{Machine, Named, Volume};
use crate::config::{CloudStack as Settings, VolumeIdentity};
use crate::model::Check;

/// Everything about the VM.
pub(super) async fn own_vm(api: &Api, settings: &Settings, project: Option<&str>) -> Vec<Check> {
    let failed = |seen: String, advice: &str| vec![Check::failed("own VM", seen, advice)];
    let id = match machine::claimed(settings).await {
        Ok(id) => id,
        Err(why) => return failed(why, "set `cloudstack.vm_id`"),
    };
    match machine::machine(api, &id, project, Detail::Details).await {
        Ok(Some(found)) => {
            let mut checks = vec![running(&found), bus(&found, settings.identity)];
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

fn bus(machine: &Machine, identity: VolumeIdentity) -> Check {
    let hypervisor = machine.hypervisor.as_deref().unwrap_or("unknown");
    if !hypervisor.eq_ignore_ascii_case("KVM") && hypervisor != "unknown" {
        if identity == VolumeIdentity::Appearance {
            return Check::passed(
                "disk bus",
                format!("{hypervisor} passes no serials on, and none is asked for"),
            );
        }
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
