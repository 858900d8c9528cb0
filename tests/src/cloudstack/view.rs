//! How volumes, VMs and the rest look in answers, to users and to administrators.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::cloud::Cloud;
use super::state::{Snapshot, State};
use super::vm::{Vm, VmState};
use super::volume::{Volume, VolumeState};
use super::wire::time;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Viewer {
    User,
    Admin,
}

/// A volume. A job of it that has not ended is shown with it.
pub(super) fn volume(cloud: &Cloud, state: &State, volume: &Volume, viewer: Viewer) -> Value {
    let mut body = json!({
        "id": volume.id,
        "name": volume.name,
        "type": if volume.is_root { "ROOT" } else { "DATADISK" },
        "state": volume.state.to_string(),
        "size": volume.size,
        "provisioningtype": "thin",
        "zoneid": cloud.places.zone,
        "zonename": "z1",
        "created": time(volume.created),
        "destroyed": volume.state == VolumeState::Destroy,
        "displayvolume": true,
        "hasannotations": false,
        "isextractable": true,
        "quiescevm": false,
        "supportsstoragesnapshot": false,
        "tags": tags(volume.tags.iter(), volume.id, "Volume"),
    });
    put(&mut body, owner(cloud, state, volume.account));
    put(&mut body, offering(cloud, volume));
    put(&mut body, attachment(state, volume));
    if let Some(job) = state.pending_job(volume.id) {
        put(&mut body, json!({"jobid": job.id, "jobstatus": 0}));
    }
    if viewer == Viewer::Admin {
        put(&mut body, placement(cloud, volume));
    }
    body
}

/// The fields of a volume that a VM has.
fn attachment(state: &State, volume: &Volume) -> Value {
    let Some(attachment) = volume.attachment else {
        return json!({});
    };
    let mut body = json!({
        "virtualmachineid": attachment.vm,
        "deviceid": attachment.device_id,
        "attached": time(attachment.since),
        "diskioread": 0,
        "diskiowrite": 0,
        "diskkbsread": 0,
        "diskkbswrite": 0,
        "vmtype": "User",
    });
    if let Some(vm) = state.vms.get(&attachment.vm) {
        let of_vm = json!({"vmname": vm.name, "vmdisplayname": vm.name, "vmstate": vm_state(vm.state)});
        put(&mut body, of_vm);
    }
    body
}

fn offering(cloud: &Cloud, volume: &Volume) -> Value {
    let Some(id) = volume.offering else {
        return json!({});
    };
    let name = if id == cloud.places.custom_offering {
        "Custom"
    } else {
        "Small"
    };
    json!({"diskofferingid": id, "diskofferingname": name, "diskofferingdisplaytext": format!("{name} Disk")})
}

/// What only administrators see.
fn placement(cloud: &Cloud, volume: &Volume) -> Value {
    if volume.state == VolumeState::Allocated {
        return json!({"hypervisor": "None", "storagetype": "shared"});
    }
    json!({
        "hypervisor": "KVM",
        "path": volume.id,
        "storage": "pri1",
        "storageid": cloud.places.pool,
        "storagetype": "shared",
    })
}

/// A VM.
pub(super) fn vm(cloud: &Cloud, state: &State, vm: &Vm) -> Value {
    let mut body = json!({
        "id": vm.id,
        "name": vm.name,
        "displayname": vm.name,
        "state": vm_state(vm.state),
        "zoneid": cloud.places.zone,
        "zonename": "z1",
        "hypervisor": "KVM",
        "instancename": format!("i-2-{}-VM", vm.name),
        "haenable": false,
        "nic": [],
        "tags": [],
    });
    put(&mut body, owner(cloud, state, vm.account));
    body
}

/// A snapshot.
pub(super) fn snapshot(cloud: &Cloud, state: &State, snapshot: &Snapshot) -> Value {
    let mut body = json!({
        "id": snapshot.id,
        "name": snapshot.name,
        "volumeid": snapshot.volume,
        "volumetype": "DATADISK",
        "snapshottype": "MANUAL",
        "intervaltype": "MANUAL",
        "state": snapshot.state,
        "virtualsize": snapshot.size,
        "physicalsize": snapshot.size,
        "created": time(snapshot.created),
        "revertable": true,
        "zoneid": cloud.places.zone,
        "tags": tags(snapshot.tags.iter(), snapshot.id, "Snapshot"),
    });
    if let Some(volume) = state.volumes.get(snapshot.volume) {
        put(&mut body, json!({"volumename": volume.name}));
    }
    put(&mut body, owner(cloud, state, snapshot.account));
    body
}

/// Tags as they hang on a resource.
pub(super) fn tags<'a>(
    tags: impl Iterator<Item = (&'a String, &'a String)>,
    resource: Uuid,
    kind: &str,
) -> Value {
    tags.map(|(key, value)| json!({"key": key, "value": value, "resourceid": resource, "resourcetype": kind}))
        .collect()
}

pub(super) fn vm_state(state: VmState) -> &'static str {
    match state {
        VmState::Running => "Running",
        VmState::Stopped => "Stopped",
    }
}

/// The owner: an account, or the project behind it.
fn owner(cloud: &Cloud, state: &State, id: Uuid) -> Value {
    let mut body = json!({"domain": "ROOT", "domainid": cloud.places.domain, "domainpath": "ROOT"});
    match state.account(id) {
        Some(account) if account.project.is_some() => {
            put(
                &mut body,
                json!({"project": "moves", "projectid": account.project}),
            );
        }
        Some(account) => put(&mut body, json!({"account": account.name})),
        None => {}
    }
    body
}

fn put(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        Map::extend(body, more);
    }
}
