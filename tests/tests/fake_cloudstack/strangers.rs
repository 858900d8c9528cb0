//! Strangers: what others do in the user interface and at the hypervisor while a client works.

use std::sync::Arc;

use serde_json::json;
use whole_system_tests::cloudstack::ElsewhereHypervisor;

use crate::cloud::{Cloud, assert_refused};

#[tokio::test]
async fn strangers_do_what_anybody_can() {
    let cloud = Cloud::start().await;
    let stranger = cloud.server.stranger();
    let id = cloud.created_and_attached("a").await;
    stranger.rename(id, "theirs now").await.unwrap();
    assert_eq!(cloud.user.volume(id).await.unwrap()["name"], "theirs now");
    stranger.resize(id, 3).await.unwrap();
    assert_eq!(cloud.user.volume(id).await.unwrap()["size"], json!(3_u64 << 30));
    assert_refused(stranger.delete(id).await, 431, "not attached");
    stranger.detach(id).await.unwrap();
    let second = stranger.create_vm("second", Arc::new(ElsewhereHypervisor::default()));
    stranger.attach(id, second).await.unwrap();
    assert_eq!(
        cloud.user.volume(id).await.unwrap()["virtualmachineid"],
        json!(second)
    );
    stranger.detach(id).await.unwrap();
    stranger.delete(id).await.unwrap();
    assert_eq!(cloud.user.volume(id).await, None);
    let received = cloud.server.snapshot().received;
    assert!(
        received.iter().all(|request| request.command != "detachVolume"),
        "strangers are not the client"
    );
    assert_eq!(cloud.server.violations(), []);
}

#[tokio::test]
async fn a_foreign_disk_may_carry_anybodys_serial() {
    let cloud = Cloud::start().await;
    let (stranger, vm) = (cloud.server.stranger(), cloud.server.vm_id());
    let id = cloud.created_and_attached("a").await;
    let ours = cloud.server.disk(id).unwrap();
    let other = stranger
        .plug_foreign(vm, "00000000000000000000", 1 << 20)
        .await
        .unwrap();
    let twin = stranger.plug_foreign(vm, &ours.serial, 1 << 20).await.unwrap();
    let plugged = stranger.plugged(vm).await;
    assert_eq!(plugged, [ours, other, twin]);
    cloud.detach(id).await.unwrap();
    assert_eq!(
        stranger.plugged(vm).await,
        plugged[1..],
        "the detach took the volume's own disk"
    );
}

#[tokio::test]
async fn a_pending_job_of_a_stranger_is_seen_and_is_not_the_clients() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let gate = whole_system_tests::cloudstack::Gate::default();
    let hold = whole_system_tests::cloudstack::Hold::Until(gate.clone());
    let stranger = cloud.server.stranger();
    stranger.occupy(cloud.server.vm_id(), hold).await;
    let theirs = tokio::spawn(async move { stranger.resize(id, 2).await });
    let seen = whole_system_tests::wait_until("their job", crate::cloud::SOON, async || {
        cloud.user.volume(id).await.unwrap().get("jobid").cloned()
    });
    assert!(seen.await.is_string());
    let detach = cloud
        .user
        .call("detachVolume", &[("id", &id.to_string())])
        .await
        .unwrap();
    assert_eq!(cloud.server.violations(), []);
    gate.open();
    theirs.await.unwrap().unwrap();
    cloud
        .user
        .outcome(detach["jobid"].as_str().unwrap())
        .await
        .unwrap();
}
