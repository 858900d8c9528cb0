//! What the cloud has no room for, refuses, or cannot get rid of: said in words that tell what to do.

use jiff::SignedDuration;
use volume_client::types::{ErrorCode, NewVolume};
use whole_system_tests::cloudstack::{Fault, Stuck};
use whole_system_tests::{CloudSite, wait_until};

use crate::support::{
    GIB, PATIENCE, attach_begun, attached, completed, detached, ends_well, failure, marked, sent,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_full_is_said_to_be_full() {
    let Some(mut site) = CloudSite::with(|setup| setup.settings.most_data_volumes = 2).await else {
        return;
    };
    site.daemon.start().await;
    let (a, b) = (marked(&site, "a").await, marked(&site, "b").await);
    let c = site.daemon.create("c", GIB).await.id;
    for _ in 0..2 {
        let failed = failure(attached(&site, c).await);
        assert_eq!(failed.code, ErrorCode::NoSpace, "{failed:?}");
        assert!(failed.message.contains('2'), "{failed:?}");
    }
    detached(&site, a).await.unwrap();
    attached(&site, c).await.unwrap();
    detached(&site, b).await.unwrap();
    ends_well(&site, c).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_makes_no_volume() {
    let Some(mut site) = CloudSite::with(|setup| setup.settings.most_volumes = Some(2)).await else {
        return;
    };
    site.daemon.start().await;
    site.daemon.create("a", GIB).await;
    let new = NewVolume {
        name: "b".into(),
        size_bytes: GIB,
        source: None,
    };
    let client = site.daemon.client();
    let failed = failure(client.create_volume_and_wait(&new, PATIENCE).await);
    assert_eq!(failed.code, ErrorCode::NoSpace);
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_with_a_snapshot_of_itself_takes_no_disk_and_says_why() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    site.cloud
        .stranger()
        .snapshot_vm(site.cloud.vm_id())
        .await
        .unwrap();
    let failed = failure(attached(&site, id).await);
    assert_eq!(failed.code, ErrorCode::CloudRefused, "{failed:?}");
    assert!(failed.message.to_lowercase().contains("snapshot"), "{failed:?}");
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_the_storage_does_not_delete_is_deleted_for_us() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    for stuck in [Stuck::Destroy, Stuck::Expunging] {
        let id = marked(&site, "a").await;
        detached(&site, id).await.unwrap();
        site.cloud
            .faults()
            .next("deleteVolume", Fault::StickyDelete(stuck));
        let client = site.daemon.client();
        let deleting = client.delete_volume(id, Some("a")).await.unwrap();
        completed(&site, &deleting).await;
    }
    site.assert_well_behaved();
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_stop_every_change_until_they_agree() {
    let Some(site) = CloudSite::started().await else {
        return;
    };
    let id = site.daemon.create("a", GIB).await.id;
    site.cloud.set_clock_ahead(SignedDuration::from_secs(120));
    let operation = attach_begun(&site, id).await;
    let client = site.daemon.client();
    wait_until("the clock to be named", PATIENCE, async || {
        let waiting = client.operation(operation.id).await.unwrap().error;
        waiting.filter(|text| text.contains("clock"))
    })
    .await;
    assert_eq!(sent(&site, "attachVolume"), 0);
    site.cloud.set_clock_ahead(SignedDuration::ZERO);
    completed(&site, &operation).await;
    ends_well(&site, id).await;
}
