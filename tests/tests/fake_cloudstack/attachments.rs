//! Attaching and detaching: what the job refuses, device ids, and what hypervisor and database make of each other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use whole_system_tests::cloudstack::{ElsewhereHypervisor, Fault, Gate, Grip, Hold, VolumeState};
use whole_system_tests::wait_until;

use crate::cloud::{Cloud, SOON, assert_refused};

#[tokio::test]
async fn an_attached_volume_says_where_it_is_after_success_only() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("attachVolume", Fault::Slow(Hold::Until(gate.clone())));
    let params = [("id", id.to_string()), ("virtualmachineid", cloud.vm())];
    let params: Vec<_> = params
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let started = cloud.user.call("attachVolume", &params).await.unwrap();
    let job = started["jobid"].as_str().unwrap();
    let pending = cloud.user.volume(id).await.unwrap();
    assert_eq!(
        (&pending["jobid"], &pending["jobstatus"]),
        (&started["jobid"], &json!(0))
    );
    assert!(pending.get("virtualmachineid").is_none() && pending.get("deviceid").is_none());
    gate.open();
    let result = cloud.user.outcome(job).await.unwrap();
    assert_eq!(result["volume"]["jobstatus"], 0, "rendered before the job closed");
    let attached = cloud.user.volume(id).await.unwrap();
    assert_eq!(
        (&attached["state"], &attached["deviceid"]),
        (&json!("Ready"), &json!(1))
    );
    assert_eq!(attached["virtualmachineid"], json!(cloud.vm()));
    assert!(attached["attached"].is_string() && attached.get("jobid").is_none());
    assert!(attached.get("path").is_none(), "only administrators see the path");
    let disk = cloud.server.disk(id).unwrap();
    assert_eq!(disk.serial, id.simple().to_string()[..20]);
    assert!(cloud.is_plugged(id).await);
    assert_eq!(std::fs::metadata(disk.image).unwrap().len(), 1 << 30);
}

#[tokio::test]
async fn what_cannot_be_attached_fails_inside_the_job() {
    let cloud = Cloud::start().await;
    let stranger = cloud.server.stranger();
    let attached = cloud.created_and_attached("attached").await;
    let attach_to_own_vm = async |id| cloud.attach(id).await;
    assert_refused(attach_to_own_vm(attached).await, 431, "not attached to any VM");

    let elsewhere = stranger.create_vm("second", Arc::new(ElsewhereHypervisor::default()));
    let to_other = [
        ("id", attached.to_string()),
        ("virtualmachineid", elsewhere.to_string()),
    ];
    let to_other: Vec<_> = to_other
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_refused(
        cloud.user.run("attachVolume", &to_other).await,
        431,
        "not attached to any VM",
    );

    let theirs = stranger.create_vm_of("other", "theirs", Arc::new(ElsewhereHypervisor::default()));
    let free = cloud.create("free").await.to_string();
    for caller in [&cloud.user, &cloud.admin()] {
        let params = [("id", free.as_str()), ("virtualmachineid", &theirs.to_string())];
        assert_refused(
            caller.run("attachVolume", &params).await,
            531,
            "belong to different accounts",
        );
    }
    let vm = cloud.vm();
    for (device_id, code, text) in [
        ("0", 431, "already has root volume"),
        ("1", 530, "deviceId 1 is used by vm"),
        ("3", 530, "deviceId should be 0,1,2,4-7"),
        ("8", 530, "deviceId should be 0,1,2,4-7"),
    ] {
        let params = [
            ("id", free.as_str()),
            ("virtualmachineid", &vm),
            ("deviceid", device_id),
        ];
        assert_refused(cloud.user.run("attachVolume", &params).await, code, text);
    }
    stranger.snapshot_vm(cloud.server.vm_id()).await.unwrap();
    assert_refused(attach_to_own_vm(free.parse().unwrap()).await, 431, "VM snapshots");
    assert_refused(cloud.detach(attached).await, 431, "VM snapshots");
    let jobs = cloud.server.snapshot().jobs;
    assert!(
        jobs.iter().filter(|job| job.command == "attachVolume").count() >= 8,
        "each was a job"
    );
}

#[tokio::test]
async fn device_ids_are_the_lowest_free_but_the_cdroms() {
    let cloud = Cloud::with(|setup| setup.settings.most_data_volumes = 4).await;
    let mut ids = Vec::new();
    for (name, expected) in [("a", 1), ("b", 2), ("c", 4), ("d", 5)] {
        let id = cloud.created_and_attached(name).await;
        assert_eq!(
            cloud.server.volume(id).unwrap().attachment.unwrap().device_id,
            expected
        );
        ids.push(id);
    }
    let more = cloud.create("e").await;
    let full = "The specified VM already has the maximum number of data disks (4) attached";
    assert_refused(cloud.attach(more).await, 431, full);
    cloud.detach(ids[1]).await.unwrap();
    assert_eq!(cloud.attach(more).await.unwrap()["volume"]["deviceid"], 2);
}

#[tokio::test]
async fn a_detach_names_the_volume_or_the_slot() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let (text, vm) = (id.to_string(), cloud.vm());
    let detach = async |params: &[(&str, &str)]| cloud.user.run("detachVolume", params).await;
    assert_refused(detach(&[]).await, 431, "either a volume id, or a tuple");
    assert_refused(
        detach(&[("id", &text), ("deviceid", "1")]).await,
        431,
        "either a volume id, or a tuple",
    );
    assert_refused(
        detach(&[("deviceid", "1")]).await,
        431,
        "either a volume id, or a tuple",
    );
    assert_refused(
        detach(&[("deviceid", "2"), ("virtualmachineid", &vm)]).await,
        431,
        "Unable to find volume",
    );
    let detached = detach(&[("deviceid", "1"), ("virtualmachineid", &vm)])
        .await
        .unwrap();
    assert_eq!(detached["volume"]["id"], text);
    assert!(detached["volume"].get("virtualmachineid").is_none());
    assert!(!cloud.is_plugged(id).await);
    assert_refused(
        cloud.detach(id).await,
        431,
        "The specified volume is not attached to a VM.",
    );
}

#[tokio::test]
async fn a_detach_has_no_state_of_its_own() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("detachVolume", Fault::Slow(Hold::Until(gate.clone())));
    let started = cloud
        .user
        .call("detachVolume", &[("id", &id.to_string())])
        .await
        .unwrap();
    let during = cloud.user.volume(id).await.unwrap();
    assert_eq!(
        (&during["state"], &during["jobid"]),
        (&json!("Ready"), &started["jobid"])
    );
    assert_eq!(during["virtualmachineid"], json!(cloud.vm()));
    gate.open();
    cloud
        .user
        .outcome(started["jobid"].as_str().unwrap())
        .await
        .unwrap();
    assert!(!cloud.is_attached(id));
}

#[tokio::test]
async fn a_detach_that_times_out_changes_nothing() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    cloud.guest.set_grip(Grip::Clinging);
    let text = "Could not detach volume after sending the command and waiting for [50] milliseconds.";
    assert_refused(cloud.detach(id).await, 530, text);
    assert!(cloud.is_attached(id) && cloud.is_plugged(id).await);
    assert_refused(cloud.detach(id).await, 530, "is already in the process of unplug");
}

#[tokio::test]
async fn a_late_unplug_is_healed_by_a_second_detach() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let gate = Gate::default();
    cloud
        .server
        .faults()
        .next("detachVolume", Fault::LateDetach(Hold::Until(gate.clone())));
    assert_refused(cloud.detach(id).await, 530, "Could not detach volume");
    assert_refused(cloud.detach(id).await, 530, "is already in the process of unplug");
    gate.open();
    wait_until("the guest to let go", SOON, async || {
        (!cloud.is_plugged(id).await).then_some(())
    })
    .await;
    assert!(cloud.is_attached(id), "the database does not know");
    cloud.detach(id).await.unwrap();
    assert!(!cloud.is_attached(id));
    assert_eq!(cloud.attach(id).await.unwrap()["volume"]["deviceid"], 1);
}

#[tokio::test]
async fn a_disk_that_is_gone_is_detached_with_success() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    cloud
        .server
        .stranger()
        .pull(cloud.server.vm_id(), id)
        .await
        .unwrap();
    cloud.detach(id).await.unwrap();
    assert!(!cloud.is_attached(id));
}

#[tokio::test]
async fn a_phantom_takes_the_target_of_the_next_disk() {
    let cloud = Cloud::start().await;
    let (a, b) = (cloud.created_and_attached("a").await, cloud.create("b").await);
    cloud.server.stranger().forget_attachment(a);
    assert!(cloud.is_plugged(a).await && !cloud.is_attached(a));
    assert_refused(cloud.attach(a).await, 530, "target vdb already exists");
    assert_refused(cloud.attach(b).await, 530, "target vdb already exists");
    assert_eq!(
        cloud.server.volume(b).unwrap().state,
        VolumeState::Ready,
        "taken back"
    );
    cloud
        .server
        .stranger()
        .pull(cloud.server.vm_id(), a)
        .await
        .unwrap();
    cloud.attach(b).await.unwrap();
}

#[tokio::test]
async fn a_stopped_vm_has_its_disks_in_the_database_only() {
    let cloud = Cloud::start().await;
    let stranger = cloud.server.stranger();
    let (a, b) = (cloud.created_and_attached("a").await, cloud.create("b").await);
    stranger.stop_vm(cloud.server.vm_id()).await.unwrap();
    assert!(!cloud.is_plugged(a).await && cloud.is_attached(a));
    cloud.attach(b).await.unwrap();
    cloud.detach(a).await.unwrap();
    assert!(!cloud.is_plugged(b).await);
    stranger.start_vm(cloud.server.vm_id()).await.unwrap();
    assert!(cloud.is_plugged(b).await && !cloud.is_plugged(a).await);
}

#[tokio::test]
async fn a_host_waits_for_the_slowest_of_its_guests() {
    let cloud = Cloud::with(|setup| setup.settings.detach_patience = Duration::from_secs(3600)).await;
    let stranger = cloud.server.stranger();
    let clinging = cloud.created_and_attached("a").await;
    let beside = stranger.create_vm_beside(
        cloud.server.vm_id(),
        "beside",
        Arc::new(ElsewhereHypervisor::default()),
    );
    let elsewhere = stranger.create_vm("elsewhere", Arc::new(ElsewhereHypervisor::default()));
    cloud.guest.set_grip(Grip::Clinging);
    cloud
        .user
        .call("detachVolume", &[("id", &clinging.to_string())])
        .await
        .unwrap();
    let attach = async |name: &str, vm: uuid::Uuid| {
        let id = cloud.create(name).await;
        let params = [("id", id.to_string()), ("virtualmachineid", vm.to_string())];
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        cloud.user.call("attachVolume", &params).await.unwrap();
        id
    };
    let (waits, goes) = (attach("waits", beside).await, attach("goes", elsewhere).await);
    wait_until("the attach on the other host", SOON, async || {
        cloud.is_attached(goes).then_some(())
    })
    .await;
    assert_eq!(cloud.server.volume(waits).unwrap().state, VolumeState::Attaching);
}
