//! Disks that are plugged in while the cloud says that they are not: never handed out, never attached over, always shown.

use std::time::Duration;

use volume_client::types::{ConditionKind, ErrorCode, FindingKind, VolumeState};
use whole_system_tests::cloudstack::{Fault, Gate, Hold, Moment};
use whole_system_tests::{CloudSite, code_of, wait_until};

use crate::support::{
    PATIENCE, attach_begun, attached, completed, condition, detached, ends_well, marked, owner, sent,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_a_restarted_management_server_forgot_is_not_attached_over() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    detached(&site, id).await.unwrap();
    site.cloud
        .faults()
        .next("attachVolume", Fault::Restart(Moment::AfterHypervisor));
    let (before, cloud_id) = (sent(&site, "attachVolume"), site.cloud_id(id).await);
    let operation = attach_begun(&site, id).await;
    condition(&site, id, ConditionKind::GhostAttached).await;
    assert!(site.node(id).await.is_some(), "the disk is plugged in");
    assert_eq!(
        site.cloud.volume(cloud_id).unwrap().attachment,
        None,
        "the cloud says not"
    );
    assert_ne!(
        code_of(site.daemon.client().volume_device(id).await),
        ErrorCode::Internal
    );
    assert_eq!(sent(&site, "attachVolume"), before + 1);

    // What an operator does on the host.
    site.cloud
        .stranger()
        .pull(site.cloud.vm_id(), cloud_id)
        .await
        .unwrap();
    completed(&site, &operation).await;
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}

/// The outage of apache/cloudstack#14214: detaches were asked for again and again while the first one waited in the VM's queue;
/// the volume was attached anew, and a detach that was still in the queue cleared that attachment.
#[tokio::test(flavor = "multi_thread")]
async fn detaches_do_not_stack_up_behind_a_slow_one_and_clear_a_newer_attachment() {
    let Some(mut site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let (gate, vm) = (Gate::default(), site.cloud.vm_id());
    site.cloud.stranger().occupy(vm, Hold::Until(gate.clone())).await;
    let operation = site.daemon.client().detach_volume(id).await.unwrap();
    wait_until("the detach to be sent", PATIENCE, async || {
        (sent(&site, "detachVolume") == 1).then_some(())
    })
    .await;
    // Longer than the call's expiry, and with every occasion to ask once more.
    for _ in 0..3 {
        site.daemon.kill().await;
        site.daemon.start().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let again = site.daemon.client().detach_volume(id).await;
        assert_eq!(code_of(again), ErrorCode::OperationInProgress);
        assert_eq!(
            sent(&site, "detachVolume"),
            1,
            "a second detach waits behind the first"
        );
    }
    gate.open();
    completed(&site, &operation).await;
    attached(&site, id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    let in_cloud = site.cloud.volume(site.cloud_id(id).await).unwrap();
    assert!(in_cloud.attachment.is_some(), "the newer attachment was cleared");
    ends_well(&site, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggling_detach_that_clears_a_newer_attachment_is_shown_as_a_phantom() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    let gate = Gate::default();
    let straggler = Fault::StragglingDetach(Hold::Until(gate.clone()));
    site.cloud.faults().next("detachVolume", straggler);
    detached(&site, id).await.unwrap();
    attached(&site, id).await.unwrap();
    site.cloud.stranger().forget_attachment(site.cloud_id(id).await);
    gate.open();
    let finding = site.found(id, FindingKind::Phantom).await;
    assert!(finding.repair.contains("device"), "{finding:?}");
    // It is what the record says it is; only the cloud has lost it. Nobody detaches or deletes what is in use.
    assert_eq!(
        site.daemon.client().volume(id).await.unwrap().state,
        VolumeState::InUse
    );
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_disk_stays_behind_is_not_deleted() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    site.cloud.stranger().forget_attachment(site.cloud_id(id).await);
    let client = site.daemon.client();
    assert!(client.delete_volume(id, Some("a")).await.is_err(), "it is in use");
    site.found(id, FindingKind::Phantom).await;
    assert_eq!(sent(&site, "deleteVolume"), 0);
    let node = site.node(id).await.unwrap();
    wait_until("the device to be named", PATIENCE, async || {
        let findings = client.list_findings(&Default::default()).await.unwrap().items;
        findings
            .iter()
            .any(|one| one.kernel.contains(&node))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detach_that_the_cloud_did_and_forgot_to_say_is_done_again_and_ends() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = marked(&site, "a").await;
    site.cloud
        .faults()
        .next("detachVolume", Fault::Restart(Moment::AfterHypervisor));
    detached(&site, id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), attached(&site, id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(owner(&site, id).await, Some(id.to_string()));
    ends_well(&site, id).await;
}
