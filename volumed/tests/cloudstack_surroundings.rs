//! What the provider needs around it: names, project, own VM, clock, keys, TLS; and the examination of all that.

mod cloudstack_support;

use cloudstack_support::tls::tls_server;
use cloudstack_support::*;
use jiff::SignedDuration;
use serde_json::{Value, json};
use volumed::cloud::{Cloud, CloudError, CloudStack, NewVolume};
use volumed::config::CloudStack as Settings;
use volumed::model::{Bytes, Check, CheckStatus};

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

async fn refusal(settings: &Settings) -> String {
    match CloudStack::open(settings.clone()).await {
        Ok(_) => panic!("it opened"),
        Err(error) => causes(&error),
    }
}

#[tokio::test]
async fn capabilities_are_the_servers() {
    let server = Server::start().await;
    let can = server.cloud().await.capabilities();
    assert_eq!((can.size_unit, can.max_size), (Bytes(GIB), Bytes(64 * GIB)));
    assert!(!can.fresh_volumes_read_zero);
    assert!(can.call_expiry > server.settings.expiry);
}

#[tokio::test]
async fn a_name_that_is_not_there_once_is_refused_with_what_there_is() {
    let server = Server::start().await;
    server.say(
        "listZones",
        [empty(), list("zone", [json!({"id": ZONE, "name": "z2"})])],
    );
    let text = refusal(&server.settings).await;
    assert!(
        text.contains("cloudstack.zone") && text.contains("`z2`") && text.contains(ZONE),
        "{text}"
    );

    let twins = [json!({"id": ZONE, "name": "z1"}), json!({"id": VM, "name": "z1"})];
    server.say("listZones", [list("zone", twins)]);
    let text = refusal(&server.settings).await;
    assert!(text.contains(ZONE) && text.contains(VM), "{text}");

    let by_id = Settings {
        zone: ZONE.to_owned(),
        ..server.settings.clone()
    };
    assert!(CloudStack::open(by_id).await.is_ok(), "an id is not ambiguous");
    assert_eq!(server.asked("listZones").last().unwrap()["id"], ZONE);
}

#[tokio::test]
async fn an_offering_of_fixed_size_is_refused() {
    let server = Server::start().await;
    let offering = json!({"id": OFFERING, "name": "Custom", "iscustomized": false, "disksize": 5});
    server.say("listDiskOfferings", [list("diskoffering", [offering])]);
    let text = refusal(&server.settings).await;
    assert!(
        text.contains("disk_offering") && text.contains("custom size"),
        "{text}"
    );
}

#[tokio::test]
async fn a_project_is_named_wherever_volumes_are() {
    let (mut server, call) = (Server::start().await, call());
    server.settings.project = Some("p1".to_owned());
    server.say(
        "listProjects",
        [list("project", [json!({"id": OTHER_VM, "name": "p1"})])],
    );
    let cloud = server.cloud().await;
    server.say("listVolumes", [empty()]);
    server.say("listVolumes by id", [detached()]);
    server.say("listVolumes by name", [empty(), detached()]);
    server.say(
        "listVirtualMachines",
        [list("virtualmachine", [json!({"id": VM})])],
    );
    server.say("createVolume", [content(json!({"id": VOLUME, "jobid": "ours"}))]);
    server.say(
        &format!("queryAsyncJobResult {}", call.id),
        [unknown_id(), job(1, json!({}))],
    );
    let spec = NewVolume {
        name: "ours".to_owned(),
        size: Bytes(GIB),
    };
    cloud.create_volume(&call, &spec).await.unwrap();
    cloud.volumes().await.unwrap();
    cloud.snapshots(VOLUME).await.unwrap();
    cloud.own_vm().await.unwrap();
    for command in [
        "createVolume",
        "listVolumes",
        "listVolumes by id",
        "listVolumes by name",
        "listVolumes by tags[0].key",
        "listSnapshots",
        "listVirtualMachines",
    ] {
        let asked = server.asked(command);
        assert!(
            !asked.is_empty() && asked.iter().all(|asked| asked["projectid"] == OTHER_VM),
            "{command}: {asked:?}"
        );
    }
}

#[tokio::test]
async fn the_own_vm_is_confirmed_once() {
    let server = Server::start().await;
    let cloud = server.cloud().await;
    server.say(
        "listVirtualMachines",
        [empty(), unknown_id(), list("virtualmachine", [json!({"id": VM})])],
    );
    for _ in 0..2 {
        match cloud.own_vm().await {
            Err(CloudError::Refused { reason, .. }) => {
                assert!(
                    reason.contains(VM) && reason.contains("cloudstack.project"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..2 {
        assert_eq!(cloud.own_vm().await.unwrap(), VM);
    }
    assert_eq!(server.asked("listVirtualMachines").len(), 3);
}

/// Signatures expire by the server's clock: the server of the test checks that, too.
#[tokio::test]
async fn a_clock_that_is_off_lets_us_read_and_change_nothing() {
    let server = well().await;
    server.set_clock_ahead(SignedDuration::from_secs(1235));
    // The first request expires before it arrives; its denial carries the date.
    let cloud = CloudStack::open(server.settings.clone()).await;
    let cloud = cloud.expect("a denial is put to the test");
    assert_eq!(server.take_wrong().len(), 1);
    server.say("listVolumes by id", [detached()]);
    cloud.volume(VOLUME).await.unwrap();
    let answer = cloud.attach(&call(), VOLUME, VM).await;
    match &answer {
        Err(error @ CloudError::Transient { .. }) => {
            let text = causes(error);
            assert!(text.contains("NTP") && text.contains("by 123"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.changes(), [""; 0]);
    let checks = cloud.diagnose().await;
    assert_eq!(find(&checks, "clock").status, CheckStatus::Failed);
    server.set_clock_ahead(SignedDuration::ZERO);
    server.say("attachVolume", [Reply::Error(503, "later")]);
    cloud.volume(VOLUME).await.unwrap();
    assert_eq!(server.take_wrong().len(), 1, "this time it expired too late");
    assert!(cloud.attach(&call(), VOLUME, VM).await.is_err());
    assert_eq!(server.changes(), ["attachVolume"], "the clocks agree again");
}

#[tokio::test]
async fn where_nobody_listens_nothing_happened() {
    let mut server = Server::start().await;
    let cloud = server.cloud().await;
    server.say("listVolumes by id", [detached()]);
    cloud.volume(VOLUME).await.unwrap();
    server.stop().await;
    let spec = NewVolume {
        name: "ours".to_owned(),
        size: Bytes(GIB),
    };
    for answer in [
        cloud.attach(&call(), VOLUME, VM).await,
        cloud.create_volume(&call(), &spec).await.map(drop),
    ] {
        assert!(answer.as_ref().is_err_and(CloudError::is_transient), "{answer:?}");
    }
    let checks = CloudStack::examine(&server.settings).await;
    assert_eq!(find(&checks, "url").status, CheckStatus::Failed);
}

#[tokio::test]
async fn secrets_are_in_no_error() {
    let server = Server::start().await;
    server.say(
        "listCapabilities",
        [Reply::Error(401, "unable to verify user credentials")],
    );
    let text = refusal(&server.settings).await;
    assert!(!text.contains(API_KEY) && !text.contains(SECRET_KEY), "{text}");
    let checks = CloudStack::examine(&server.settings).await;
    assert_eq!(find(&checks, "credentials").status, CheckStatus::Failed);
    assert!(!format!("{checks:?}").contains(API_KEY));
    let nowhere = Settings {
        credentials_file: Some("/nowhere".into()),
        ..server.settings.clone()
    };
    let checks = CloudStack::examine(&nowhere).await;
    assert_eq!(find(&checks, "credentials").status, CheckStatus::Failed);
}

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let found = checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no check {name} in {checks:?}"))
}

/// A server on which everything is well.
async fn well() -> Server {
    let server = Server::start().await;
    let names = [
        "attachVolume",
        "createSnapshot",
        "createTags",
        "createVolume",
        "deleteSnapshot",
        "deleteVolume",
        "detachVolume",
        "listDiskOfferings",
        "listHypervisorCapabilities",
        "listSnapshots",
        "listVirtualMachines",
        "listVMSnapshot",
        "listCapabilities",
        "listVolumes",
        "listZones",
        "queryAsyncJobResult",
        "resizeVolume",
        "revertSnapshot",
    ];
    let api = |name: &&str| json!({"name": name, "params": [{"name": "id"}, {"name": "customjobid"}]});
    let apis: Vec<Value> = names.iter().map(api).collect();
    server.say("listApis", [content(json!({"count": apis.len(), "api": apis}))]);
    let vm = json!({"id": VM, "name": "appliance", "state": "Running", "hypervisor": "KVM",
        "details": {"rootDiskController": "virtio"}});
    server.say("listVirtualMachines", [list("virtualmachine", [vm])]);
    server.say("listVMSnapshot", [empty()]);
    let rows = [
        json!({"hypervisor": "KVM", "maxdatavolumeslimit": 6}),
        json!({"hypervisor": "KVM", "maxdatavolumeslimit": 32}),
        json!({"hypervisor": "VMware", "maxdatavolumeslimit": 59}),
    ];
    server.say(
        "listHypervisorCapabilities",
        [list("hypervisorCapabilities", rows)],
    );
    server.say(
        "listVolumes by virtualmachineid",
        [list("volume", [volume(json!({"virtualmachineid": VM}))])],
    );
    server
}

#[tokio::test]
async fn where_all_is_well_every_check_passes() {
    let server = well().await;
    let checks = CloudStack::examine(&server.settings).await;
    assert!(
        checks.iter().all(|check| check.status == CheckStatus::Passed),
        "{checks:#?}"
    );
    assert_eq!(find(&checks, "free slots").seen, "31 of 32");
    assert!(find(&checks, "url").seen.contains("4.20.1.0"));
    assert_eq!(server.cloud().await.diagnose().await, checks);
    assert_eq!(server.changes(), [""; 0], "an examination changes nothing");
}

#[tokio::test]
async fn each_thing_that_is_not_well_is_found_and_says_what_to_do() {
    let fixed = json!({"id": OFFERING, "name": "Custom", "iscustomized": false});
    let stopped = json!({"id": VM, "name": "appliance", "state": "Stopped", "hypervisor": "KVM"});
    let xen = json!({"id": VM, "name": "appliance", "state": "Running", "hypervisor": "XenServer"});
    let few = json!({"name": "listVolumes"});
    let full = list(
        "hypervisorCapabilities",
        [json!({"hypervisor": "KVM", "maxdatavolumeslimit": 1})],
    );
    let denied = || Reply::Error(401, "unable to verify");
    for (command, reply, name, status) in [
        (
            "listApis",
            content(json!({"count": 1, "api": [few]})),
            "permission deleteVolume",
            CheckStatus::Failed,
        ),
        ("listApis", denied(), "permissions", CheckStatus::Warning),
        ("listZones", empty(), "zone", CheckStatus::Failed),
        (
            "listDiskOfferings",
            list("diskoffering", [fixed]),
            "disk offering",
            CheckStatus::Failed,
        ),
        ("listVirtualMachines", empty(), "own VM", CheckStatus::Failed),
        (
            "listVirtualMachines",
            list("virtualmachine", [stopped]),
            "own VM",
            CheckStatus::Failed,
        ),
        (
            "listVirtualMachines",
            list("virtualmachine", [xen]),
            "disk bus",
            CheckStatus::Failed,
        ),
        (
            "listVMSnapshot",
            list("vmSnapshot", [json!({"id": ZONE})]),
            "VM snapshots",
            CheckStatus::Failed,
        ),
        (
            "listHypervisorCapabilities",
            full,
            "free slots",
            CheckStatus::Failed,
        ),
        (
            "listHypervisorCapabilities",
            denied(),
            "free slots",
            CheckStatus::Warning,
        ),
    ] {
        let server = well().await;
        server.say(command, [reply]);
        let checks = CloudStack::examine(&server.settings).await;
        let check = find(&checks, name);
        assert_eq!(check.status, status, "{check:?}");
        assert!(
            check.advice.as_ref().is_some_and(|advice| !advice.is_empty()),
            "{check:?}"
        );
    }
}

#[tokio::test]
async fn tls_trusts_the_authority_that_it_is_told_and_no_other() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), keys());
    let (port, _server) = tls_server(dir.path()).await;
    let settings = |host: &str, ca: Option<&str>| {
        let mut settings = Settings::new(format!("https://{host}:{port}/client/api"), "z1", "Custom");
        settings.credentials_file = Some(keys.path().join("keys"));
        settings.ca_file = ca.map(|file| dir.path().join(file));
        settings
    };
    let checks = CloudStack::examine(&settings("localhost", Some("ca.pem"))).await;
    assert_eq!(find(&checks, "url").status, CheckStatus::Passed, "{checks:?}");
    let checks = CloudStack::examine(&settings("127.0.0.1", Some("ca.pem"))).await;
    let check = find(&checks, "url");
    assert!(
        check.status == CheckStatus::Failed && check.seen.contains("cannot connect"),
        "{check:?}"
    );
    // Another authority: a second server's.
    let other = tempfile::tempdir().unwrap();
    let _other = tls_server(other.path()).await;
    std::fs::copy(other.path().join("ca.pem"), dir.path().join("other.pem")).unwrap();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    for file in ["other.pem", "empty.pem", "absent.pem"] {
        let checks = CloudStack::examine(&settings("localhost", Some(file))).await;
        assert_eq!(
            find(&checks, "url").status,
            CheckStatus::Failed,
            "{file}: {checks:?}"
        );
    }
}
