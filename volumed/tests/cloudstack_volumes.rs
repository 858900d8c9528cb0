//! Making, growing, deleting and listing against a scripted management server.

mod cloudstack_support;

use std::time::Duration;

use cloudstack_support::*;
use serde_json::{Value, json};
use volumed::cloud::{Cloud, CloudError, NewVolume, ProviderState};
use volumed::model::{Bytes, Identity};

fn kind<T>(answer: &Result<T, CloudError>) -> &'static str {
    answer.as_ref().map_or_else(CloudError::kind, |_| "ok")
}

fn spec() -> NewVolume {
    NewVolume {
        name: "ours".to_owned(),
        size: Bytes(GIB),
    }
}

fn allocated() -> Reply {
    one_volume(json!({"state": "Allocated"}))
}

#[tokio::test]
async fn a_create_looks_first_then_makes_one_and_tags_it() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say("listVolumes by name", [empty(), allocated()]);
    server.say("createVolume", [content(json!({"id": VOLUME, "jobid": "ours"}))]);
    let job_of_call = format!("queryAsyncJobResult {}", call.id);
    server.say(
        &job_of_call,
        [unknown_id(), pending(), job(1, json!({"volume": {"id": VOLUME}}))],
    );
    let made = cloud.create_volume(&call, &spec()).await.unwrap();
    assert_eq!(
        (made.provider_ref.as_str(), made.size, &made.state),
        (VOLUME, Bytes(GIB), &ProviderState::Allocated)
    );
    assert_eq!(
        made.identity,
        Some(Identity::Serial("8e6a7c2e9b1d4b579d0e".to_owned()))
    );
    let sent = &server.asked("createVolume")[0];
    for (name, value) in [
        ("name", "ours"),
        ("size", "1"),
        ("zoneid", ZONE),
        ("diskofferingid", OFFERING),
        ("customjobid", call.id.as_str()),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    let tag = &server.asked("createTags")[0];
    assert_eq!(
        (tag["resourceids"].as_str(), tag["tags[0].value"].as_str()),
        (VOLUME, "ours")
    );
    cloud.create_volume(&call, &spec()).await.unwrap();
    assert_eq!(server.changes(), ["createVolume"], "the second time it was found");
}

#[tokio::test]
async fn a_volume_without_a_tag_is_as_good() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say("createVolume", [content(json!({"id": VOLUME, "jobid": "ours"}))]);
    server.say("createTags", [Reply::Error(530, "no tags today")]);
    server.say("listVolumes by name", [empty(), allocated()]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), job(1, json!({}))],
    );
    cloud.create_volume(&call, &spec()).await.unwrap();
}

/// A create that is sent twice makes two volumes, whatever the ids of its jobs.
#[tokio::test]
async fn a_create_whose_job_is_known_is_never_sent_again() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say("listVolumes by name", [empty(), allocated()]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [pending(), job(1, json!({}))],
    );
    cloud.create_volume(&call, &spec()).await.unwrap();
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_decided_by_the_list() {
    for (then, expected) in [(allocated(), "ok"), (empty(), "unknown")] {
        let mut server = Server::start().await;
        server.settings.request_timeout = Duration::from_millis(200);
        let cloud = server.cloud().await;
        server.say("listVolumes by name", [empty(), then]);
        server.say("createVolume", [Reply::Silence]);
        let answer = cloud.create_volume(&call(), &spec()).await;
        assert_eq!(kind(&answer), expected, "{answer:?}");
        assert_eq!(server.changes(), ["createVolume"]);
    }
}

#[tokio::test]
async fn creates_that_fail_say_why() {
    for (reply, expected) in [
        (
            Reply::Error(
                535,
                "Maximum amount of resources of Type = 'volume' for Account is exceeded",
            ),
            "no_space",
        ),
        (Reply::Error(431, "The size is out of bounds"), "refused"),
        (
            Reply::Error(
                531,
                "Account does not have permission to operate with this offering",
            ),
            "refused",
        ),
        (Reply::Error(429, "retry after 1 ms"), "transient"),
        (Reply::Error(503, "maintenance"), "transient"),
        (Reply::Error(530, "Internal error"), "unknown"),
    ] {
        let server = Server::start().await;
        let cloud = server.cloud().await;
        server.say("listVolumes by name", [empty()]);
        server.say("createVolume", [reply]);
        let answer = cloud.create_volume(&call(), &spec()).await;
        assert_eq!(kind(&answer), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_judged_by_size_and_state() {
    for (volume, expected) in [
        (json!({}), "ok"),
        (json!({"state": "Allocated"}), "ok"),
        (json!({"size": 2 * GIB}), "conflict"),
        (json!({"state": "UploadError"}), "conflict"),
        (json!({"state": "Creating"}), "conflict"),
    ] {
        let server = Server::start().await;
        let cloud = server.cloud().await;
        server.say("listVolumes by name", [one_volume(volume.clone())]);
        let answer = cloud.create_volume(&call(), &spec()).await;
        assert_eq!(kind(&answer), expected, "{volume}: {answer:?}");
        assert_eq!(server.changes(), [""; 0]);
    }
}

#[tokio::test]
async fn a_volume_on_its_way_out_does_not_hold_its_name() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    let dying = volume(json!({"state": "Destroy", "id": OTHER_VM}));
    server.say(
        "listVolumes by name",
        [
            list("volume", [dying.clone()]),
            list("volume", [dying, volume(json!({}))]),
        ],
    );
    server.say("createVolume", [content(json!({"id": VOLUME, "jobid": "ours"}))]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), job(1, json!({}))],
    );
    assert_eq!(
        cloud.create_volume(&call, &spec()).await.unwrap().provider_ref,
        VOLUME
    );
}

#[tokio::test]
async fn names_are_exact_and_outlive_a_renaming() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    let similar = list(
        "volume",
        [
            volume(json!({"name": "ours-too"})),
            volume(json!({"id": ZONE, "name": "ours"})),
        ],
    );
    server.say("listVolumes by name", [similar, empty()]);
    let found = cloud.volumes_named("ours").await.unwrap();
    assert_eq!(
        found.iter().map(|v| v.provider_ref.as_str()).collect::<Vec<_>>(),
        [ZONE]
    );
    let renamed = volume(json!({"name": "mine now", "tags": [{"key": "volumed.name", "value": "ours"}]}));
    server.say("listVolumes by tags[0].key", [list("volume", [renamed])]);
    let found = cloud.volumes_named("ours").await.unwrap();
    assert_eq!(
        found.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
        ["ours"]
    );
    let asked = server.asked("listVolumes by tags[0].key");
    assert_eq!(
        (
            asked[0]["tags[0].key"].as_str(),
            asked[0]["tags[0].value"].as_str()
        ),
        ("volumed.name", "ours")
    );
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    for reply in [
        Reply::Raw(200, "text/html", "<html>log in</html>".to_owned()),
        Reply::Raw(302, "text/html", String::new()),
        Reply::Raw(
            200,
            "application/json",
            "{\"listvolumesresponse\":{\"count\":1,\"vol".to_owned(),
        ),
        content(json!({"count": 1})),
        content(json!({"count": 2, "volume": [volume(json!({}))]})),
        content(json!({"count": 1, "volume": [{"name": "without an id"}]})),
        Reply::Error(530, "database is away"),
    ] {
        server.say("listVolumes", [reply.clone()]);
        let answer = cloud.volumes().await;
        assert_eq!(kind(&answer), "transient", "{reply:?}: {answer:?}");
    }
    server.say("listVolumes", [empty()]);
    assert_eq!(cloud.volumes().await.unwrap(), []);
}

fn page(total: usize, from: usize, to: usize) -> Reply {
    let entry =
        |n: usize| json!({"id": format!("00000000-0000-4000-8000-{n:012}"), "state": "Ready", "size": GIB});
    content(json!({"count": total, "volume": (from..to).map(entry).collect::<Vec<Value>>()}))
}

#[tokio::test]
async fn pages_are_put_together_and_read_anew_when_the_list_changes() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes", [page(700, 0, 500), page(700, 500, 700)]);
    assert_eq!(cloud.volumes().await.unwrap().len(), 700);
    let asked = server.asked("listVolumes");
    let pages: Vec<_> = asked
        .iter()
        .map(|asked| (asked["page"].as_str(), asked["pagesize"].as_str()))
        .collect();
    assert_eq!(pages, [("1", "500"), ("2", "500")]);

    // One goes between the pages, so that another moves up unseen: the count tells.
    server.say(
        "listVolumes",
        [
            page(700, 0, 500),
            page(699, 501, 700),
            page(699, 1, 501),
            page(699, 501, 700),
        ],
    );
    assert_eq!(cloud.volumes().await.unwrap().len(), 699);
    // One goes and one comes: an entry shows twice.
    server.say(
        "listVolumes",
        [
            page(700, 0, 500),
            page(700, 499, 699),
            page(700, 0, 500),
            page(700, 500, 700),
        ],
    );
    assert_eq!(cloud.volumes().await.unwrap().len(), 700);

    let too_large = Reply::Error(431, "Page size cannot be greater than 100");
    server.say(
        "listVolumes",
        [too_large.clone(), too_large.clone(), too_large, page(60, 0, 60)],
    );
    assert_eq!(cloud.volumes().await.unwrap().len(), 60);
    assert_eq!(server.asked("listVolumes").last().unwrap()["pagesize"], "62");
}

#[tokio::test]
async fn absence_has_two_shapes() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    for gone in [empty(), unknown_id(), one_volume(json!({"state": "Expunged"}))] {
        server.say("listVolumes by id", [gone]);
        assert_eq!(cloud.volume(VOLUME).await.unwrap(), None);
        cloud.delete_volume(&call(), VOLUME).await.unwrap();
    }
    server.say("listVolumes by id", [one_volume(json!({"state": "Destroy"}))]);
    assert_eq!(
        cloud.volume(VOLUME).await.unwrap().unwrap().state,
        ProviderState::Destroyed
    );
    cloud.delete_volume(&call(), VOLUME).await.unwrap();
    assert_eq!(server.changes(), [""; 0]);
}

/// Else a project that was removed would make every volume of it look deleted.
#[tokio::test]
async fn the_absence_of_something_else_is_no_absence_of_the_volume() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    let text =
        "Invalid parameter projectid value=1 due to incorrect long value format, or entity does not exist";
    server.say("listVolumes by id", [Reply::Error(431, text)]);
    assert_eq!(kind(&cloud.volume(VOLUME).await), "refused");
    assert_eq!(kind(&cloud.delete_volume(&call(), VOLUME).await), "refused");
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn the_state_decides_what_a_delete_did() {
    let attached = Reply::Error(431, "Please specify a volume that is not attached to any VM.");
    for (reply, then, expected) in [
        (content(json!({"success": true})), empty(), "ok"),
        (content(json!({"success": "true"})), empty(), "ok"),
        (content(json!({"success": false})), detached(), "unknown"),
        (attached.clone(), detached(), "conflict"),
        (attached, empty(), "ok"),
        (
            Reply::Error(530, "Failed to delete on storage"),
            one_volume(json!({"state": "Expunging"})),
            "ok",
        ),
        (
            Reply::Error(530, "Failed to delete on storage"),
            detached(),
            "unknown",
        ),
        (Reply::Raw(504, "text/html", String::new()), empty(), "ok"),
        (Reply::Raw(504, "text/html", String::new()), detached(), "unknown"),
        (unknown_id(), empty(), "ok"),
    ] {
        let server = Server::start().await;
        let cloud = server.cloud().await;
        let shown = format!("{reply:?}");
        server.say("listVolumes by id", [detached(), then]);
        server.say("deleteVolume", [reply]);
        let answer = cloud.delete_volume(&call(), VOLUME).await;
        assert_eq!(kind(&answer), expected, "{shown}: {answer:?}");
        assert_eq!(server.changes(), ["deleteVolume"]);
    }
}

#[tokio::test]
async fn what_is_attached_or_has_snapshots_is_not_deleted() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [attached_to(VM)]);
    assert_eq!(kind(&cloud.delete_volume(&call(), VOLUME).await), "conflict");
    server.say("listVolumes by id", [detached()]);
    // One that does not say whose it is was asked for by volume.
    for snapshot in [
        json!({"id": ZONE, "volumeid": VOLUME, "state": "BackedUp"}),
        json!({"id": ZONE, "state": "Error"}),
    ] {
        server.say("listSnapshots", [list("snapshot", [snapshot])]);
        assert_eq!(kind(&cloud.delete_volume(&call(), VOLUME).await), "conflict");
    }
    server.say("listSnapshots", [Reply::Raw(200, "text/html", String::new())]);
    assert_eq!(kind(&cloud.delete_volume(&call(), VOLUME).await), "transient");
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn a_resize_names_the_new_total_and_never_shrinks() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say(
        "listVolumes by id",
        [detached(), one_volume(json!({"size": 3 * GIB}))],
    );
    server.say("resizeVolume", [content(json!({"jobid": "ours"}))]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), job(1, json!({}))],
    );
    cloud.resize(&call, VOLUME, Bytes(3 * GIB)).await.unwrap();
    assert_eq!(server.asked("resizeVolume")[0]["size"], "3");
    cloud.resize(&call, VOLUME, Bytes(3 * GIB)).await.unwrap();
    for size in [2 * GIB, 3 * GIB + 1, 65 * GIB, 0, u64::MAX] {
        assert_eq!(
            kind(&cloud.resize(&call, VOLUME, Bytes(size)).await),
            "refused",
            "{size}"
        );
    }
    assert_eq!(server.changes(), ["resizeVolume"]);
}

#[tokio::test]
async fn snapshots_are_looked_for_before_one_is_taken() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    let snapshot = |state: &str| {
        let entry =
            json!({"id": ZONE, "name": "before", "volumeid": VOLUME, "state": state, "virtualsize": GIB});
        list("snapshot", [entry])
    };
    server.say("listVolumes by id", [detached()]);
    server.say("createSnapshot", [content(json!({"id": ZONE, "jobid": "ours"}))]);
    server.say("listSnapshots", [empty(), snapshot("BackedUp")]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), pending(), job(1, json!({}))],
    );
    let taken = cloud.create_snapshot(&call, VOLUME, "before").await.unwrap();
    assert_eq!(
        (taken.snapshot_ref.as_str(), taken.size, taken.ready),
        (ZONE, Bytes(GIB), true)
    );
    assert_eq!(
        cloud.create_snapshot(&call, VOLUME, "before").await.unwrap(),
        taken
    );
    assert_eq!(cloud.snapshots(VOLUME).await.unwrap(), [taken]);
    server.say("listSnapshots", [snapshot("CreatedOnPrimary")]);
    assert_eq!(
        kind(&cloud.create_snapshot(&call, VOLUME, "before").await),
        "conflict"
    );
    assert_eq!(
        kind(&cloud.revert_to_snapshot(&call, VOLUME, ZONE).await),
        "conflict"
    );
    assert_eq!(
        kind(&cloud.revert_to_snapshot(&call, VOLUME, VM).await),
        "not_found"
    );
    server.say("listVolumes by id", [attached_to(VM)]);
    server.say("listSnapshots", [snapshot("BackedUp")]);
    assert_eq!(
        kind(&cloud.revert_to_snapshot(&call, VOLUME, ZONE).await),
        "conflict"
    );
    assert_eq!(server.changes(), ["createSnapshot"]);
}

#[tokio::test]
async fn a_snapshot_is_deleted_when_the_list_says_so() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    let there = list(
        "snapshot",
        [json!({"id": ZONE, "name": "s", "volumeid": VOLUME, "state": "BackedUp"})],
    );
    server.say("listVolumes by id", [detached()]);
    server.say("deleteSnapshot", [content(json!({"jobid": "ours"}))]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), failed(530, "nobody has read this yet")],
    );
    server.say("listSnapshots", [there.clone(), empty()]);
    cloud.delete_snapshot(&call, VOLUME, ZONE).await.unwrap();
    cloud.delete_snapshot(&call, VOLUME, ZONE).await.unwrap();
    server.say("listSnapshots", [there]);
    assert_eq!(
        kind(
            &cloud
                .delete_snapshot(&cloudstack_support::call(), VOLUME, ZONE)
                .await
        ),
        "unknown"
    );
    assert_eq!(server.changes(), ["deleteSnapshot", "deleteSnapshot"]);
}
