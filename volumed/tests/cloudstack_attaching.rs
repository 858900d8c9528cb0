//! Attach and detach against a scripted management server: what is sent, what is not, and what each answer is taken for.

mod cloudstack_support;

use cloudstack_support::*;
use serde_json::json;
use volumed::cloud::{Call, Cloud, CloudError, CloudStack, Fate};

type Answer = Result<(), CloudError>;

#[track_caller]
fn assert_kind(answer: &Answer, kind: &str) {
    let seen = answer.as_ref().map_or_else(CloudError::kind, |()| "ok");
    assert_eq!(seen, kind, "{answer:?}");
}

/// A server with a detached volume, whose attach starts a job of our id that then answers `jobs`.
async fn attaching(call: &Call, jobs: impl IntoIterator<Item = Reply>, then: Reply) -> (Server, CloudStack) {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [detached(), then]);
    server.say("attachVolume", [content(json!({"jobid": "ours"}))]);
    let jobs = std::iter::once(unknown_id()).chain(jobs);
    server.say(&format!("queryAsyncJobResult {}", call.id), jobs);
    (server, cloud)
}

async fn detaching(call: &Call, jobs: impl IntoIterator<Item = Reply>, then: Reply) -> (Server, CloudStack) {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [attached_to(VM), then]);
    server.say("detachVolume", [content(json!({"jobid": "ours"}))]);
    let jobs = std::iter::once(unknown_id()).chain(jobs);
    server.say(&format!("queryAsyncJobResult {}", call.id), jobs);
    (server, cloud)
}

#[tokio::test]
async fn an_attach_is_one_job_of_our_id_followed_to_its_end() {
    let call = call();
    let jobs = [pending(), pending(), job(1, json!({"volume": {"id": VOLUME}}))];
    let (server, cloud) = attaching(&call, jobs, attached_to(VM)).await;
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    let sent = server.asked("attachVolume");
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0]["id"].as_str(), sent[0]["virtualmachineid"].as_str()),
        (VOLUME, VM)
    );
    assert_eq!(sent[0]["customjobid"], call.id);
    assert!(
        !sent[0].contains_key("deviceid"),
        "device numbers are CloudStack's business"
    );
    assert_eq!(server.asked(&format!("queryAsyncJobResult {}", call.id)).len(), 4);
}

#[tokio::test]
async fn what_is_so_already_is_not_asked_for() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [attached_to(VM)]);
    cloud.attach(&call(), VOLUME, VM).await.unwrap();
    assert_kind(
        &cloud.attach(&call(), VOLUME, OTHER_VM).await,
        "attached_elsewhere",
    );
    assert_kind(
        &cloud.detach(&call(), VOLUME, OTHER_VM).await,
        "attached_elsewhere",
    );
    server.say("listVolumes by id", [detached()]);
    cloud.detach(&call(), VOLUME, VM).await.unwrap();
    server.say("listVolumes by id", [unknown_id(), empty()]);
    for _ in 0..2 {
        assert_kind(&cloud.attach(&call(), VOLUME, VM).await, "not_found");
    }
    assert_kind(&cloud.attach(&call(), "../x", VM).await, "not_found");
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn nothing_is_sent_while_a_job_is_at_work_on_the_volume() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    for volume in [
        json!({"virtualmachineid": VM, "jobid": "b0c1", "jobstatus": 0}),
        json!({"jobid": "b0c1", "jobstatus": 0}),
        json!({"state": "Attaching"}),
        json!({"state": "Migrating", "virtualmachineid": VM}),
        json!({"state": "Creating"}),
    ] {
        server.say("listVolumes by id", [one_volume(volume.clone())]);
        for answer in [
            cloud.attach(&call(), VOLUME, VM).await,
            cloud.detach(&call(), VOLUME, VM).await,
            cloud.delete_volume(&call(), VOLUME).await,
            cloud
                .resize(&call(), VOLUME, volumed::model::Bytes(2 * GIB))
                .await,
        ] {
            assert_kind(&answer, "conflict");
            let named = volume["jobid"].as_str().unwrap_or_default();
            assert!(answer.unwrap_err().to_string().contains(named));
        }
    }
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn a_list_that_is_a_moment_old_is_read_again() {
    let call = call();
    let jobs = [job(1, json!({"volume": {"id": VOLUME}}))];
    let (server, cloud) = attaching(&call, jobs, detached()).await;
    let old = || one_volume(json!({"state": "Attaching", "jobid": "theirs", "jobstatus": 0}));
    let transitional = || one_volume(json!({"state": "Attaching"}));
    server.say("queryAsyncJobResult theirs", [job(1, json!({}))]);
    server.say(
        "listVolumes by id",
        [
            old(),
            transitional(),
            detached(),
            detached(),
            transitional(),
            attached_to(VM),
        ],
    );
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.changes(), ["attachVolume"]);
}

/// Else a detach right after an attach would say that it is done, and the disk would stay.
#[tokio::test]
async fn that_there_is_nothing_to_detach_is_believed_when_seen_twice() {
    let call = call();
    let (server, cloud) = detaching(&call, [job(1, json!({}))], detached()).await;
    server.say("listVolumes by id", [detached(), attached_to(VM), detached()]);
    cloud.detach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.changes(), ["detachVolume"]);
}

#[tokio::test]
async fn the_same_call_again_waits_for_its_own_job() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    let at_work = one_volume(json!({"state": "Attaching", "jobid": call.id, "jobstatus": 0}));
    server.say("listVolumes by id", [at_work, attached_to(VM)]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [pending(), job(1, json!({}))],
    );
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.changes(), [""; 0]);
}

#[tokio::test]
async fn the_state_decides_after_a_job_that_failed() {
    let already = failed(530, "This volume is already attached to a VM.");
    for (reply, then, kind) in [
        (already.clone(), attached_to(VM), "ok"),
        (already.clone(), attached_to(OTHER_VM), "attached_elsewhere"),
        (already, detached(), "conflict"),
        (cut_off(), detached(), "unknown"),
        (cut_off(), attached_to(VM), "ok"),
        (
            failed(
                530,
                "job cancelled because of management server restart or shutdown",
            ),
            detached(),
            "unknown",
        ),
        (failed(530, "nobody has read this yet"), detached(), "unknown"),
        (
            failed(431, "Please specify a valid User VM."),
            detached(),
            "refused",
        ),
        (
            failed(530, "Entity Vol and entity VM belong to different accounts"),
            detached(),
            "refused",
        ),
        (
            failed(530, "internal error: No more available PCI slots"),
            detached(),
            "no_space",
        ),
        (job(1, json!({"volume": {"id": VOLUME}})), detached(), "unknown"),
        (
            job(1, json!({"volume": {"id": OTHER_VM}})),
            attached_to(VM),
            "unknown",
        ),
        (unknown_id(), detached(), "unknown"),
    ] {
        let (call, shown) = (call(), format!("{reply:?}"));
        let (server, cloud) = attaching(&call, [reply], then).await;
        let answer = cloud.attach(&call, VOLUME, VM).await;
        let seen = answer.as_ref().map_or_else(CloudError::kind, |()| "ok");
        assert_eq!(seen, kind, "{shown}: {answer:?}");
        assert_eq!(server.changes(), ["attachVolume"]);
    }
}

#[tokio::test]
async fn a_detach_that_timed_out_is_in_doubt_and_one_that_hangs_is_in_the_way() {
    let late = "Could not detach volume after sending the command and waiting for [10000] milliseconds. Probably the VM …";
    let hangs = "unable to execute QEMU command 'device_del': Device virtio-disk1 is already in the process of unplug";
    for (reply, then, kind) in [
        (failed(530, late), attached_to(VM), "unknown"),
        (failed(530, late), detached(), "ok"),
        (failed(530, hangs), attached_to(VM), "conflict"),
        (
            failed(431, "The specified volume is not attached to an Instance."),
            detached(),
            "ok",
        ),
        (cut_off(), attached_to(VM), "unknown"),
        (job(1, json!({})), attached_to(VM), "unknown"),
    ] {
        let call = call();
        let (server, cloud) = detaching(&call, [reply], then).await;
        assert_kind(&cloud.detach(&call, VOLUME, VM).await, kind);
        let sent = server.asked("detachVolume");
        assert_eq!(sent.len(), 1);
        assert!(!sent[0].contains_key("virtualmachineid") && !sent[0].contains_key("deviceid"));
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_by_our_id() {
    let call = call();
    let (mut server, _) = attaching(&call, [pending(), job(1, json!({}))], attached_to(VM)).await;
    server.settings.request_timeout = std::time::Duration::from_millis(200);
    server.say("attachVolume", [Reply::Silence]);
    let cloud = server.cloud().await;
    cloud.attach(&call, VOLUME, VM).await.unwrap();

    server.say("listVolumes by id", [detached()]);
    let other = cloudstack_support::call();
    assert_kind(&cloud.attach(&other, VOLUME, VM).await, "unknown");
    assert_eq!(
        server.changes(),
        ["attachVolume", "attachVolume"],
        "neither was sent twice"
    );
    assert_eq!(cloud.fate(&other, Some(VOLUME)).await.unwrap(), Fate::Unseen);
}

#[tokio::test]
async fn answers_that_are_not_cloudstacks_leave_a_change_in_doubt() {
    for reply in [
        Reply::Raw(502, "text/html", "<html>bad gateway</html>".to_owned()),
        Reply::Raw(200, "text/html", "<html>log in</html>".to_owned()),
        Reply::Raw(302, "text/html", String::new()),
        Reply::Raw(200, "application/json", "{\"attachvolumeresponse\":{".to_owned()),
        Reply::Raw(
            200,
            "application/json",
            "{\"attachvolumeresponse\":{}}".to_owned(),
        ),
    ] {
        let call = call();
        let (server, cloud) = attaching(&call, [unknown_id()], detached()).await;
        server.say("attachVolume", [reply]);
        assert_kind(&cloud.attach(&call, VOLUME, VM).await, "unknown");
        assert_eq!(server.changes(), ["attachVolume"]);
    }
}

/// Once it is known that the server takes ids of ours, an error without a job is certain to have done nothing.
#[tokio::test]
async fn an_error_at_once_without_a_job_did_nothing() {
    let first = call();
    let (server, cloud) = attaching(&first, [job(1, json!({}))], attached_to(VM)).await;
    cloud.attach(&first, VOLUME, VM).await.unwrap();
    server.say("listVolumes by id", [detached()]);
    server.say("attachVolume", [Reply::Error(530, "nobody has read this yet")]);
    assert_kind(&cloud.attach(&call(), VOLUME, VM).await, "conflict");
    server.say("attachVolume", [Reply::Raw(500, "text/html", String::new())]);
    assert_kind(&cloud.attach(&call(), VOLUME, VM).await, "unknown");
}

#[tokio::test]
async fn a_duplicate_id_means_follow_that_job() {
    let call = call();
    let (server, cloud) = attaching(&call, [pending(), job(1, json!({}))], attached_to(VM)).await;
    let text = "UUID: x already exists so can't create/update with custom id";
    server.say("attachVolume", [Reply::Error(431, text)]);
    cloud.attach(&call, VOLUME, VM).await.unwrap();
}

#[tokio::test]
async fn what_certainly_did_nothing_is_transient() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [detached()]);
    server.say(
        "attachVolume",
        [Reply::Error(429, "api limit, please retry after [700] ms.")],
    );
    match cloud.attach(&call, VOLUME, VM).await {
        Err(CloudError::Transient { retry_after, .. }) => assert_eq!(retry_after.unwrap().as_millis(), 700),
        other => panic!("{other:?}"),
    }
    server.say("attachVolume", [Reply::Error(503, "Can not accept new jobs")]);
    assert_kind(&cloud.attach(&call, VOLUME, VM).await, "transient");
}

#[tokio::test]
async fn a_denial_is_put_to_the_test_three_times() {
    let call = call();
    let (server, cloud) = attaching(&call, [job(1, json!({}))], attached_to(VM)).await;
    let denial = || Reply::Error(401, "unable to verify user credentials and/or request signature");
    server.say(
        "attachVolume",
        [denial(), denial(), content(json!({"jobid": "ours"}))],
    );
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.changes().len(), 3);

    server.say("listVolumes by id", [detached()]);
    server.say("attachVolume", [denial()]);
    match cloud.attach(&cloudstack_support::call(), VOLUME, VM).await {
        Err(CloudError::Refused { reason, .. }) => {
            assert!(reason.contains("clock") && reason.contains("role"), "{reason}");
            assert!(!reason.contains(API_KEY) && !reason.contains(SECRET_KEY));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.changes().len(), 6);
}

#[tokio::test]
async fn a_vm_that_is_full_is_said_so_and_its_limit_is_learned() {
    let call = call();
    let full = "The specified VM already has the maximum number of data disks (2) attached. Please specify another VM.";
    let (server, cloud) = attaching(&call, [failed(431, full)], detached()).await;
    assert_kind(&cloud.attach(&call, VOLUME, VM).await, "no_space");
    let disks = [
        json!({"id": ZONE, "type": "DATADISK"}),
        json!({"id": OFFERING, "type": "DATADISK"}),
    ];
    server.say("listVolumes by virtualmachineid", [list("volume", disks)]);
    match cloud.attach(&cloudstack_support::call(), VOLUME, VM).await {
        Err(CloudError::NoSpace { source, .. }) => {
            let text = source.unwrap().to_string();
            assert!(
                text.contains("2 of 2 data disks") && text.contains("detach one"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.changes(), ["attachVolume"]);
}

#[tokio::test]
async fn an_unknown_vm_is_not_found() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [detached()]);
    server.say("listVolumes by virtualmachineid", [unknown_id(), empty()]);
    server.say("attachVolume", [unknown_id()]);
    for _ in 0..2 {
        assert_kind(&cloud.attach(&call(), VOLUME, OTHER_VM).await, "not_found");
    }
    assert_kind(&cloud.attach(&call(), VOLUME, "local-1234").await, "not_found");
}

#[tokio::test]
async fn fates_are_told_by_job_and_volume() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    let job_of_call = format!("queryAsyncJobResult {}", call.id);
    server.say(&job_of_call, [pending()]);
    match cloud.fate(&call, Some(VOLUME)).await.unwrap() {
        Fate::Pending(text) => assert!(
            text.contains(&call.id) && text.contains("AttachVolumeCmd"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
    for ended in [job(1, json!({})), cut_off(), failed(530, "no"), job(3, json!({}))] {
        server.say(&job_of_call, [ended]);
        assert_eq!(cloud.fate(&call, None).await.unwrap(), Fate::Ended);
    }
    server.say(&job_of_call, [unknown_id()]);
    assert_eq!(cloud.fate(&call, None).await.unwrap(), Fate::Unseen);
    server.say(
        "listVolumes by id",
        [one_volume(
            json!({"virtualmachineid": VM, "jobid": "b0c1", "jobstatus": 0}),
        )],
    );
    match cloud.fate(&call, Some(VOLUME)).await.unwrap() {
        Fate::Pending(text) => assert!(text.contains("b0c1"), "{text}"),
        other => panic!("{other:?}"),
    }
    server.say("listVolumes by id", [detached()]);
    assert_eq!(cloud.fate(&call, Some(VOLUME)).await.unwrap(), Fate::Unseen);
}

#[tokio::test]
async fn a_call_whose_job_has_ended_is_not_sent_again() {
    let call = call();
    let (server, cloud) = attaching(
        &call,
        [failed(530, "internal error: No more available PCI slots")],
        detached(),
    )
    .await;
    for _ in 0..2 {
        assert_kind(&cloud.attach(&call, VOLUME, VM).await, "no_space");
    }
    assert_eq!(server.changes(), ["attachVolume"]);
}

#[tokio::test]
async fn a_server_that_chooses_job_ids_is_understood() {
    let (server, call) = (Server::start().await, call());
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [detached(), attached_to(VM)]);
    server.say("attachVolume", [content(json!({"jobid": "theirs"}))]);
    server.say("queryAsyncJobResult theirs", [pending(), job(1, json!({}))]);
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(cloud.fate(&call, None).await.unwrap(), Fate::Ended);
    let at_work = one_volume(json!({"state": "Attaching", "jobid": "theirs", "jobstatus": 0}));
    server.say("listVolumes by id", [at_work, attached_to(VM)]);
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.changes(), ["attachVolume"]);
}

#[tokio::test]
async fn a_job_is_followed_through_troubles_of_the_server() {
    let call = call();
    let jobs = [
        Reply::Raw(502, "text/html", "<html/>".to_owned()),
        pending(),
        Reply::Error(530, "database is away"),
        Reply::Error(429, "retry after 5 ms"),
        job(1, json!({})),
    ];
    let (server, cloud) = attaching(&call, jobs, attached_to(VM)).await;
    cloud.attach(&call, VOLUME, VM).await.unwrap();
    assert_eq!(server.asked(&format!("queryAsyncJobResult {}", call.id)).len(), 6);
}

#[tokio::test]
async fn changes_of_one_volume_do_not_pass_each_other() {
    let first = call();
    let (server, cloud) = attaching(&first, [pending(), pending(), job(1, json!({}))], attached_to(VM)).await;
    let second = call();
    let (a, b) = tokio::join!(
        cloud.attach(&first, VOLUME, VM),
        cloud.attach(&second, VOLUME, VM)
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(server.changes(), ["attachVolume"]);
}
