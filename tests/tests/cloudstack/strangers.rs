//! What somebody does in the cloud's own UI, or at the hypervisor, behind the daemon's back.

use std::sync::Arc;

use volume_client::types::{ConditionKind, ErrorCode, FindingKind, Operation, VolumeId, VolumeState};
use whole_system_tests::cloudstack::{ElsewhereHypervisor, Fault, Gate, Hold, Received};
use whole_system_tests::{Chance, CloudSite, Disk, Hypervisor, code_of, wait_until};

use crate::support::{GIB, PATIENCE, attached, detached, ends_well, failure, marked, owner, sent};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_attached_here_already_is_what_was_asked_for() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let before = sent(&site, "attachVolume");
    let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
    stranger.attach(site.cloud_id(id).await, vm).await.unwrap();
    attached(&site, id).await.unwrap();
    assert_eq!(sent(&site, "attachVolume"), before, "nothing had to be sent");
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_another_vm_is_never_taken_from_it() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let stranger = site.cloud.stranger();
    let elsewhere = stranger.create_vm("other", Arc::new(ElsewhereHypervisor::default()));
    let cloud_id = site.cloud_id(id).await;
    stranger.attach(cloud_id, elsewhere).await.unwrap();
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::AttachedElsewhere);
    assert!(failed.message.contains(&elsewhere.to_string()), "{failed:?}");
    let volume = site.cloud.volume(cloud_id).unwrap();
    assert_eq!(volume.attachment.map(|a| a.vm), Some(elsewhere));
    site.found(id, FindingKind::AttachedElsewhere).await;
    stranger.detach(cloud_id).await.unwrap();
    attached(&site, id).await.unwrap();
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_detached_is_recorded_as_detached() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let cloud_id = site.cloud_id(id).await;
    // The daemon's pin keeps a loop device: somebody detaches while the daemon is looking away.
    site.cloud.stranger().detach(cloud_id).await.unwrap();
    let client = site.daemon.client();
    wait_until("the volume to be available", PATIENCE, async || {
        let volume = client.volume(id).await.unwrap();
        if volume.state == VolumeState::InUse {
            // Correlating lets go of what no longer holds.
            let _ = client.correlate_volume(id).await;
        }
        (volume.state == VolumeState::Available && volume.operation_id.is_none()).then_some(())
    })
    .await;
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_renamed_is_still_ours() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let cloud_id = site.cloud_id(id).await;
    site.cloud
        .stranger()
        .rename(cloud_id, "something else")
        .await
        .unwrap();
    attached(&site, id).await.unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_deleted_is_shown_and_not_mourned_for_ever() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    site.cloud
        .stranger()
        .delete(site.cloud_id(id).await)
        .await
        .unwrap();
    site.found(id, FindingKind::GoneInCloud).await;
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::CloudRefused, "{failed:?}");
    let client = site.daemon.client();
    let deleted = client.delete_volume(id, Some("a")).await.unwrap();
    client.wait_for_completion(deleted.id, PATIENCE).await.unwrap();
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_resized_is_not_handed_out_with_the_wrong_size() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    site.cloud
        .stranger()
        .resize(site.cloud_id(id).await, 2)
        .await
        .unwrap();
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::SizeMismatch, "{failed:?}");
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_the_wrong_size_is_refused_and_sent_back() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    site.cloud
        .faults()
        .next("attachVolume", Fault::WrongSize(-(1 << 20)));
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::SizeMismatch, "{failed:?}");
    assert_eq!(site.cloud.stranger().plugged(site.cloud.vm_id()).await, []);
    assert_eq!(
        site.daemon.client().volume(id).await.unwrap().state,
        VolumeState::Available
    );
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_with_one_serial_are_an_alarm_and_never_a_choice() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
    let serial = site.cloud.disk(site.cloud_id(id).await).unwrap().serial;
    // While ours is bound.
    let twin = stranger.plug_foreign(vm, &serial, GIB).await.unwrap();
    site.found(id, FindingKind::DuplicateIdentity).await;
    let client = site.daemon.client();
    assert_eq!(
        code_of(client.volume_device(id).await),
        ErrorCode::DeviceAmbiguous
    );
    site.hypervisor.unplug(&twin, PATIENCE).await.unwrap();
    wait_until("the device to be handed out again", PATIENCE, async || {
        client.volume_device(id).await.ok()
    })
    .await;
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    detached(&site, id).await.unwrap();

    // Before ours is there: the stranger's could pass for it.
    let twin = stranger.plug_foreign(vm, &serial, GIB).await.unwrap();
    let before = sent(&site, "attachVolume");
    let operation = crate::support::attach_begun(&site, id).await;
    crate::support::condition(&site, id, ConditionKind::GhostAttached).await;
    assert_eq!(sent(&site, "attachVolume"), before);
    site.hypervisor.unplug(&twin, PATIENCE).await.unwrap();
    crate::support::completed(&site, &operation).await;
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_disk_is_shown_and_left_alone() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    let (stranger, vm) = (site.cloud.stranger(), site.cloud.vm_id());
    let serial = "0123456789abcdef0123";
    let foreign = stranger.plug_foreign(vm, serial, GIB).await.unwrap();
    attached(&site, id).await.unwrap();
    let client = site.daemon.client();
    wait_until("the stranger's disk to be found", PATIENCE, async || {
        let findings = client.list_findings(&Default::default()).await.unwrap().items;
        findings
            .into_iter()
            .find(|one| one.kind == FindingKind::ForeignDevice && one.kernel.contains(serial))
    })
    .await;
    detached(&site, id).await.unwrap();
    assert_eq!(stranger.plugged(vm).await, std::slice::from_ref(&foreign));
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_not_taken_for_ours_because_a_list_is_a_moment_old() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    let twin = twin_of(&site, id).await;
    // It shows the volume attached here, as it was before the detach; the twin is the only disk with its serial.
    site.cloud.faults().next("listVolumes", Fault::Stale);
    let operation = crate::support::attach_begun(&site, id).await;
    phantom_is_shown_until_it_is_out(&site, id, &operation, &twin).await;
}

/// Somebody's detach and the answer to our question pass each other: what the cloud said of the volume is no longer so when
/// the daemon hears it, and the only disk with its serial is somebody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_not_bound_on_an_answer_that_was_long_on_its_way() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    only_believed_attached(&site, id).await;
    let twin = twin_of(&site, id).await;
    let cloud_id = site.cloud_id(id).await.to_string();
    // Every answer waits for its gate, and tells what was when the question came.
    let gates: Vec<Gate> = (0..40).map(|_| Gate::default()).collect();
    for (nth, gate) in (1..).zip(&gates) {
        let slow = Fault::Slow(Hold::Until(gate.clone()));
        site.cloud.faults().nth("listVolumes", nth, slow);
    }
    let before = site.cloud.snapshot().received.len();
    let operation = crate::support::attach_begun(&site, id).await;
    let third_question = async || {
        let received = site.cloud.snapshot().received;
        let lists = received.iter().skip(before);
        let lists = lists.filter(|one| one.command == "listVolumes");
        // Twice before a device is looked for, once more before it is bound.
        let mut of_this = 0;
        for (list, gate) in lists.zip(&gates) {
            of_this += usize::from(list.params.get("id") == Some(&cloud_id));
            if of_this == 3 {
                return Some(());
            }
            gate.open();
        }
        None
    };
    wait_until("a question about the proven device", PATIENCE, third_question).await;
    site.cloud
        .stranger()
        .detach(site.cloud_id(id).await)
        .await
        .unwrap();
    site.cloud.faults().disarm();
    gates.iter().for_each(Gate::open);
    phantom_is_shown_until_it_is_out(&site, id, &operation, &twin).await;
}

/// A detach that a management server forgot half-way: the disk is out, and the cloud says that it is attached. What comes then,
/// alone and with its serial, is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_the_cloud_only_believes_in_is_plugged_in_anew() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    only_believed_attached(&site, id).await;
    let operation = crate::support::attach_begun(&site, id).await;
    crate::support::completed(&site, &operation).await;
    assert_eq!(owner(&site, id).await, Some(id.to_string()));

    only_believed_attached(&site, id).await;
    let operation = crate::support::attach_begun(&site, id).await;
    let client = site.daemon.client();
    wait_until("the device to be waited for", PATIENCE, async || {
        let steps = client.operation(operation.id).await.unwrap().steps;
        steps.iter().any(|step| step.step == "await_device").then_some(())
    })
    .await;
    let twin = twin_of(&site, id).await;
    phantom_is_shown_until_it_is_out(&site, id, &operation, &twin).await;
}

/// Leaves the volume attached in the cloud, and its disk out.
async fn only_believed_attached(site: &CloudSite, id: VolumeId) {
    detached(site, id).await.unwrap();
    let (stranger, vm, cloud_id) = (site.cloud.stranger(), site.cloud.vm_id(), site.cloud_id(id).await);
    stranger.attach(cloud_id, vm).await.unwrap();
    stranger.pull(vm, cloud_id).await.unwrap();
}

/// Plugs somebody's disk in that carries the volume's serial.
async fn twin_of(site: &CloudSite, id: VolumeId) -> Disk {
    let serial = site.cloud.disk(site.cloud_id(id).await).unwrap().serial;
    let stranger = site.cloud.stranger();
    let plugged = stranger.plug_foreign(site.cloud.vm_id(), &serial, GIB);
    plugged.await.unwrap()
}

/// The device is shown and not handed out; once somebody has pulled it out, the volume's own is.
async fn phantom_is_shown_until_it_is_out(
    site: &CloudSite,
    id: VolumeId,
    operation: &Operation,
    twin: &Disk,
) {
    crate::support::condition(site, id, ConditionKind::GhostAttached).await;
    assert!(site.daemon.client().volume_device(id).await.is_err());
    site.hypervisor.unplug(twin, PATIENCE).await.unwrap();
    crate::support::completed(site, operation).await;
    assert_eq!(owner(site, id).await, Some(id.to_string()));
    ends_well(site, id).await;
}

/// A list that is a moment old says that the volume is detached, and its disk is out: the cloud must be told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_detach_is_not_taken_for_done_because_a_list_is_a_moment_old() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let (stranger, vm, cloud_id) = (site.cloud.stranger(), site.cloud.vm_id(), site.cloud_id(id).await);
    let pulled = tokio::spawn(async move { stranger.pull(vm, cloud_id).await });
    let mut chance = Chance::seeded("every list is old");
    site.cloud
        .faults()
        .by_chance("listVolumes", 1000, Fault::Stale, &mut chance);
    let before = site.cloud.snapshot().received.len();
    let operation = site.daemon.client().detach_volume(id).await.unwrap();
    wait_until("the cloud to be asked", PATIENCE, async || {
        let received = site.cloud.snapshot().received;
        let is_of_this = |one: &Received| one.params.get("id") == Some(&cloud_id.to_string());
        received.iter().skip(before).any(is_of_this).then_some(())
    })
    .await;
    site.cloud.faults().disarm();
    crate::support::completed(&site, &operation).await;
    let _ = pulled.await.unwrap();
    assert_eq!(site.cloud.volume(cloud_id).unwrap().attachment, None);
    assert_eq!(sent(&site, "detachVolume"), 1);
    site.assert_well_behaved();
}
