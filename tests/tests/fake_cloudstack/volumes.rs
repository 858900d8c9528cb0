//! Volumes, snapshots and tags, as long as no VM has the volume.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde_json::json;
use whole_system_tests::cloudstack::{Fault, JobState, Stuck, VolumeState};

use crate::cloud::{Cloud, assert_refused};

const GIB: u64 = 1 << 30;

#[tokio::test]
async fn a_new_volume_is_a_row_and_nothing_else() {
    let cloud = Cloud::start().await;
    let (offering, zone) = (
        cloud.server.offering_id().to_string(),
        cloud.server.zone_id().to_string(),
    );
    let params = [
        ("name", "d *[0]~"),
        ("diskofferingid", &offering),
        ("zoneid", &zone),
        ("size", "3"),
    ];
    let started = cloud.user.call("createVolume", &params).await.unwrap();
    let id = started["id"].as_str().unwrap().parse().unwrap();
    let volume = cloud
        .user
        .volume(id)
        .await
        .expect("the row is there with the first answer");
    assert_eq!(
        (&volume["state"], &volume["size"], &volume["type"]),
        (&json!("Allocated"), &json!(3 * GIB), &json!("DATADISK"))
    );
    assert_eq!(volume["name"], "d *[0]~");
    assert!(volume.get("virtualmachineid").is_none() && volume.get("path").is_none());
    let result = cloud
        .user
        .outcome(started["jobid"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(result["volume"]["id"], started["id"]);
    assert!(
        !cloud.server.disk(id).unwrap().image.exists(),
        "no storage before the first attach"
    );
    let seen_by_admin = cloud
        .admin()
        .call("listVolumes", &[("id", &id.to_string())])
        .await
        .unwrap();
    assert_eq!(seen_by_admin["volume"][0]["hypervisor"], "None");
}

#[tokio::test]
async fn what_cannot_be_created_is_refused() {
    let cloud = Cloud::with(|setup| setup.settings.most_volumes = Some(2)).await;
    let (custom, fixed) = (
        cloud.server.offering_id().to_string(),
        cloud.server.fixed_offering_id().to_string(),
    );
    let zone = cloud.server.zone_id().to_string();
    let custom_id = uuid::Uuid::new_v4().to_string();
    let create = async |more: &[(&str, &str)]| {
        let params = [&[("zoneid", zone.as_str())], more].concat();
        cloud.user.call("createVolume", &params).await
    };
    assert_refused(
        create(&[("diskofferingid", &custom)]).await,
        431,
        "requires a custom size",
    );
    for size in ["0", "1025"] {
        assert_refused(
            create(&[("diskofferingid", &custom), ("size", size)]).await,
            431,
            "out of allowed range",
        );
    }
    let with_id = [("diskofferingid", fixed.as_str()), ("customid", &custom_id)];
    assert_refused(create(&with_id).await, 531, "Root Admins");
    let made = create(&[("diskofferingid", &fixed)]).await.unwrap();
    let made = cloud
        .server
        .volume(made["id"].as_str().unwrap().parse().unwrap())
        .unwrap();
    assert_eq!(made.size, 5 * GIB);
    assert_refused(
        create(&[("diskofferingid", &fixed)]).await,
        535,
        "Maximum amount of resources",
    );
}

#[tokio::test]
async fn volumes_are_found_by_what_they_are() {
    let cloud = Cloud::start().await;
    let (a, b) = (
        cloud.create("disk-a").await,
        cloud.created_and_attached("disk-ab").await,
    );
    let tag = [
        ("resourcetype", "Volume"),
        ("tags[0].key", "volumed/owner"),
        ("tags[0].value", "x*y z"),
    ];
    let ids = format!("{a},{b}");
    cloud
        .user
        .run(
            "createTags",
            &[&tag[..], &[("resourceids", &a.to_string())]].concat(),
        )
        .await
        .unwrap();
    let found = async |params: &[(&str, &str)]| -> Vec<String> {
        let listed = cloud.user.call("listVolumes", params).await.unwrap();
        let volumes = listed["volume"].as_array().cloned().unwrap_or_default();
        assert_eq!(
            listed.get("count").and_then(|c| c.as_u64()),
            (!volumes.is_empty()).then_some(volumes.len() as u64)
        );
        volumes
            .iter()
            .map(|volume| volume["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (vm, zone) = (cloud.vm(), cloud.server.zone_id().to_string());
    assert_eq!(
        found(&[("name", "disk-a")]).await,
        ["disk-a"],
        "the name is exact"
    );
    assert_eq!(found(&[("keyword", "disk")]).await, ["disk-a", "disk-ab"]);
    assert_eq!(found(&[("ids", &ids)]).await, ["disk-a", "disk-ab"]);
    assert_eq!(
        found(&[("virtualmachineid", &vm), ("type", "DATADISK")]).await,
        ["disk-ab"]
    );
    assert_eq!(
        found(&[("virtualmachineid", &vm)]).await,
        ["ROOT-mig-appliance", "disk-ab"]
    );
    assert_eq!(
        found(&[("state", "Allocated"), ("zoneid", &zone)]).await,
        ["disk-a"]
    );
    assert_eq!(
        found(&[("tags[0].key", "volumed/owner"), ("tags[0].value", "x*y z")]).await,
        ["disk-a"]
    );
    assert_eq!(
        found(&[("tags[0].key", "volumed/owner"), ("tags[0].value", "x")]).await,
        [""; 0]
    );
    let page = cloud
        .user
        .call("listVolumes", &[("page", "2"), ("pagesize", "2")])
        .await
        .unwrap();
    assert_eq!(
        (&page["count"], page["volume"].as_array().unwrap().len()),
        (&json!(3), 1)
    );
}

#[tokio::test]
async fn accounts_and_projects_keep_their_volumes_to_themselves() {
    let cloud = Cloud::start().await;
    let id = cloud.create("mine").await;
    let text = id.to_string();
    let other = cloud.server.caller(cloud.server.credentials("other"));
    assert_eq!(
        other.call("listVolumes", &[("id", &text)]).await.unwrap(),
        json!({})
    );
    assert_refused(
        other.call("deleteVolume", &[("id", &text)]).await,
        531,
        "does not have permission",
    );
    let admin = cloud.admin();
    assert_eq!(admin.call("listVolumes", &[]).await.unwrap(), json!({}));
    assert_eq!(
        admin.call("listVolumes", &[("listall", "true")]).await.unwrap()["count"],
        2
    );

    let project = cloud.server.project_id().to_string();
    let (offering, zone) = (
        cloud.server.fixed_offering_id().to_string(),
        cloud.server.zone_id().to_string(),
    );
    let params = [
        ("name", "ours"),
        ("diskofferingid", &offering),
        ("zoneid", &zone),
        ("projectid", &project),
    ];
    cloud.user.run("createVolume", &params).await.unwrap();
    assert_eq!(
        cloud.user.call("listVolumes", &[("name", "ours")]).await.unwrap(),
        json!({})
    );
    let listed = cloud
        .user
        .call("listVolumes", &[("name", "ours"), ("projectid", &project)])
        .await
        .unwrap();
    assert_eq!(listed["volume"][0]["projectid"], json!(project));
}

#[tokio::test]
async fn a_deleted_volume_is_known_and_listed_no_more() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    let text = id.to_string();
    let delete = async || cloud.user.call("deleteVolume", &[("id", &text)]).await;
    assert_refused(delete().await, 431, "not attached to any VM");
    cloud.detach(id).await.unwrap();
    assert!(cloud.server.disk(id).unwrap().image.exists());
    assert_eq!(delete().await.unwrap(), json!({"success": true}));
    assert!(!cloud.server.disk(id).unwrap().image.exists());
    assert_eq!(
        cloud.user.call("listVolumes", &[("id", &text)]).await.unwrap(),
        json!({}),
        "removed, not unknown"
    );
    assert_refused(delete().await, 431, "Unable to find volume");
}

#[tokio::test]
async fn a_destroyed_volume_can_be_recovered_until_it_is_expunged() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let text = id.to_string();
    let destroy = async |expunge: &str| {
        cloud
            .user
            .run("destroyVolume", &[("id", &text), ("expunge", expunge)])
            .await
    };
    assert_refused(destroy("false").await, 431, "can only be expunged");
    cloud.attach(id).await.unwrap();
    assert_refused(destroy("true").await, 431, "not attached to any VM");
    cloud.detach(id).await.unwrap();
    let destroyed = destroy("false").await.unwrap();
    assert_eq!(
        (&destroyed["volume"]["state"], &destroyed["volume"]["destroyed"]),
        (&json!("Destroy"), &json!(true))
    );
    assert_refused(cloud.attach(id).await, 431, "not destroyed");
    let recovered = cloud.user.call("recoverVolume", &[("id", &text)]).await.unwrap();
    assert_eq!(recovered["volume"]["state"], "Ready");
    assert_refused(
        cloud.user.call("recoverVolume", &[("id", &text)]).await,
        431,
        "Destroy state",
    );
    destroy("true").await.unwrap();
    assert!(cloud.server.volume(id).unwrap().removed);
}

#[tokio::test]
async fn a_delete_that_sticks_leaves_its_row() {
    for (stuck, state) in [
        (Stuck::Destroy, VolumeState::Destroy),
        (Stuck::Expunging, VolumeState::Expunging),
    ] {
        let cloud = Cloud::start().await;
        let id = cloud.create("a").await;
        let text = id.to_string();
        cloud
            .server
            .faults()
            .next("deleteVolume", Fault::StickyDelete(stuck));
        assert_eq!(
            cloud
                .user
                .call("deleteVolume", &[("id", &text)])
                .await
                .unwrap_err()
                .code,
            530
        );
        let listed = cloud.user.volume(id).await.expect("the row is there");
        assert_eq!(listed["state"], state.to_string());
        let again = cloud.user.call("deleteVolume", &[("id", &text)]).await;
        assert_eq!(
            again.is_ok(),
            stuck == Stuck::Destroy,
            "from Destroy it can be repeated: {again:?}"
        );
        cloud.server.stranger().purge();
        assert_eq!(
            cloud.user.volume(id).await,
            None,
            "the server's own purge takes it away"
        );
    }
}

#[tokio::test]
async fn a_volume_grows_and_never_shrinks() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let text = id.to_string();
    let resize = async |more: &[(&str, &str)]| {
        cloud
            .user
            .run("resizeVolume", &[&[("id", text.as_str())], more].concat())
            .await
    };
    assert_eq!(resize(&[("size", "2")]).await.unwrap()["volume"]["size"], 2 * GIB);
    assert!(
        !cloud.server.disk(id).unwrap().image.exists(),
        "Allocated: only the row"
    );
    cloud.attach(id).await.unwrap();
    assert_eq!(resize(&[("size", "4")]).await.unwrap()["volume"]["size"], 4 * GIB);
    assert_eq!(
        fs::metadata(cloud.server.disk(id).unwrap().image).unwrap().size(),
        4 * GIB
    );
    assert_eq!(
        resize(&[("size", "4")]).await.unwrap()["volume"]["size"],
        4 * GIB,
        "to the same size, again"
    );
    assert_refused(resize(&[("size", "3")]).await, 431, "shrinkok");
    assert_refused(
        resize(&[("size", "3"), ("shrinkok", "true")]).await,
        431,
        "Unable to shrink",
    );
    assert_refused(resize(&[("size", "2000")]).await, 431, "out of allowed range");
    assert_refused(resize(&[]).await, 431, "size");
}

#[tokio::test]
async fn a_snapshot_holds_content_and_size() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await;
    let text = id.to_string();
    let take = async || {
        cloud
            .user
            .run("createSnapshot", &[("volumeid", &text), ("name", "s")])
            .await
    };
    assert_refused(take().await, 431, "not in Ready state but Allocated");
    cloud.attach(id).await.unwrap();
    let image = cloud.server.disk(id).unwrap().image;
    overwrite(&image, b"before");
    let snapshot = take().await.unwrap()["snapshot"].clone();
    assert_eq!(
        (&snapshot["state"], &snapshot["volumeid"], &snapshot["name"]),
        (&json!("BackedUp"), &json!(id), &json!("s"))
    );
    overwrite(&image, b"after!");
    cloud
        .user
        .run("resizeVolume", &[("id", &text), ("size", "2")])
        .await
        .unwrap();

    let of = snapshot["id"].as_str().unwrap().to_owned();
    let revert = async || cloud.user.run("revertSnapshot", &[("id", &of)]).await;
    assert_refused(revert().await, 431, "not in the shutdown state");
    cloud.detach(id).await.unwrap();
    assert_eq!(revert().await.unwrap(), json!({"success": true}));
    assert_eq!(cloud.server.volume(id).unwrap().size, GIB);
    assert_eq!(beginning(&image), *b"before");
    assert_eq!(fs::metadata(&image).unwrap().size(), GIB);
    assert!(fs::metadata(&image).unwrap().blocks() < 1000, "holes stay holes");

    let listed = cloud
        .user
        .call("listSnapshots", &[("volumeid", &text)])
        .await
        .unwrap();
    assert_eq!(listed["snapshot"][0]["id"], snapshot["id"]);
    cloud.user.run("deleteSnapshot", &[("id", &of)]).await.unwrap();
    assert_eq!(
        cloud
            .user
            .call("listSnapshots", &[("volumeid", &text)])
            .await
            .unwrap(),
        json!({})
    );
    assert_refused(
        cloud.user.run("deleteSnapshot", &[("id", &of)]).await,
        431,
        "unable to find a snapshot",
    );
}

fn overwrite(image: &Path, with: &[u8]) {
    fs::OpenOptions::new()
        .write(true)
        .open(image)
        .unwrap()
        .write_all_at(with, 0)
        .unwrap();
}

fn beginning(image: &Path) -> [u8; 6] {
    let mut bytes = [0; 6];
    fs::File::open(image)
        .unwrap()
        .read_exact_at(&mut bytes, 0)
        .unwrap();
    bytes
}

#[tokio::test]
async fn a_volume_is_made_of_a_snapshot() {
    let cloud = Cloud::start().await;
    let id = cloud.created_and_attached("a").await;
    overwrite(&cloud.server.disk(id).unwrap().image, b"content");
    let snapshot = cloud
        .user
        .run("createSnapshot", &[("volumeid", &id.to_string())])
        .await
        .unwrap();
    let of = snapshot["snapshot"]["id"].as_str().unwrap().to_owned();
    let copy = cloud
        .user
        .run("createVolume", &[("snapshotid", &of), ("name", "copy")])
        .await
        .unwrap();
    assert_eq!(
        (&copy["volume"]["state"], &copy["volume"]["size"]),
        (&json!("Ready"), &json!(GIB))
    );
    let copy = copy["volume"]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(beginning(&cloud.server.disk(copy).unwrap().image), *b"conten");
}

#[tokio::test]
async fn tags_come_and_go() {
    let cloud = Cloud::start().await;
    let (a, b) = (cloud.create("a").await, cloud.create("b").await);
    let ids = format!("{a},{b}");
    let of_both = [("resourceids", ids.as_str()), ("resourcetype", "Volume")];
    let pair = [
        ("tags[0].key", "k"),
        ("tags[0].value", "v *"),
        ("tags[1].key", "l"),
        ("tags[1].value", "w"),
    ];
    let create = async || {
        cloud
            .user
            .run("createTags", &[&of_both[..], &pair].concat())
            .await
    };
    assert_eq!(create().await.unwrap(), json!({"success": true}));
    assert_refused(create().await, 530, "already");
    let listed = cloud
        .user
        .call("listTags", &[("resourceid", &a.to_string()), ("key", "k")])
        .await
        .unwrap();
    let expected = json!({"key": "k", "value": "v *", "resourceid": a, "resourcetype": "Volume"});
    assert_eq!(listed, json!({"count": 1, "tag": [expected]}));
    assert_eq!(
        cloud.user.volume(b).await.unwrap()["tags"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let wrong_value = [("tags[0].key", "k"), ("tags[0].value", "x")];
    cloud
        .user
        .run("deleteTags", &[&of_both[..], &wrong_value].concat())
        .await
        .unwrap();
    assert_eq!(cloud.server.volume(a).unwrap().tags.len(), 2);
    cloud
        .user
        .run("deleteTags", &[&of_both[..], &[("tags[0].key", "k")]].concat())
        .await
        .unwrap();
    assert_eq!(
        cloud.server.volume(a).unwrap().tags.keys().collect::<Vec<_>>(),
        ["l"]
    );
    let none = cloud.user.call("createTags", &of_both).await;
    assert_refused(none, 431, "missing parameter tags");
    let jobs = cloud.server.snapshot().jobs;
    assert!(jobs.iter().all(|job| !matches!(job.state, JobState::Pending)));
}
