//! Who is let in: signatures, expiry, roles, sessions, methods, limits, and the shape of what comes back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use whole_system_tests::cloudstack::{Enforcement, Fault, Params, RateLimit, Refusal, Role, Violation};

use crate::cloud::{Cloud, assert_refused};

fn with(params: &Params, name: &str, value: &str) -> Params {
    let kept = params
        .iter()
        .filter(|(known, _)| !known.eq_ignore_ascii_case(name));
    let owned = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Params::of(owned.chain([(name.to_owned(), value.to_owned())]))
}

fn renamed(params: &Params, from: &str, to: &str) -> Params {
    Params::of(params.iter().map(|(name, value)| {
        let name = if name == from { to } else { name };
        (name.to_owned(), value.to_owned())
    }))
}

#[tokio::test]
async fn a_signed_call_is_let_in_by_get_and_by_post() {
    let cloud = Cloud::start().await;
    let params = cloud
        .user
        .signed("listVolumes", &[("name", "a *~[0]/+ä&="), ("tags[0].key", "k")]);
    for answer in [
        cloud.user.post(&params).await.unwrap(),
        cloud.user.get(&params, &[]).await.unwrap(),
    ] {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.envelope(),
            ("listvolumesresponse".to_owned(), json!({})),
            "an empty list is empty"
        );
        assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_caller_looks_the_same() {
    let cloud = Cloud::start().await;
    let good = || cloud.user.signed("listVolumes", &[]);
    let limited = cloud
        .server
        .caller(cloud.server.add_key(Role::only(&["listZones"])));
    for (what, params) in [
        (
            "another signature",
            with(&good(), "signature", "UNfjQEXkWNiIdQp5gp+IZJI3TVE="),
        ),
        ("no signature", with(&good(), "signature", "")),
        (
            "a changed value",
            with(&good(), "expires", "2031-01-02T03:04:05Z"),
        ),
        ("a value more", with(&good(), "listall", "true")),
        ("an unknown key", with(&good(), "apikey", "nobody")),
        ("an unknown command", cloud.user.signed("listNothing", &[])),
        ("a command in another case", cloud.user.signed("listvolumes", &[])),
        (
            "a command under another name",
            renamed(&good(), "command", "Command"),
        ),
        (
            "an administrator's command",
            cloud.user.signed("listHypervisorCapabilities", &[]),
        ),
        (
            "a command that the role lacks",
            limited.signed("listVolumes", &[]),
        ),
    ] {
        let answer = cloud.user.post(&params).await.unwrap();
        let expected = "unable to verify user credentials and/or request signature";
        let refusal = Refusal {
            code: 401,
            class: None,
            text: expected.to_owned(),
        };
        assert_eq!(answer.content(), Err(refusal), "{what}");
    }
    assert!(limited.call("listZones", &[]).await.is_ok());
    assert_eq!(
        cloud.user.post(&good()).await.unwrap().status,
        200,
        "the untouched call is good"
    );
}

#[tokio::test]
async fn a_session_cookie_takes_the_path_of_sessions() {
    let cloud = Cloud::start().await;
    let get = async |cookie: &str| {
        let params = cloud.user.signed("listVolumes", &[]);
        cloud
            .user
            .get(&params, &[("cookie", cookie)])
            .await
            .unwrap()
            .status
    };
    assert_eq!(get("JSESSIONID=node01").await, 401);
    assert_eq!(get("theme=dark").await, 200);
}

#[tokio::test]
async fn the_servers_clock_decides_what_has_expired() {
    let cloud = Cloud::start().await;
    let status = async || {
        cloud
            .user
            .post(&cloud.user.signed("listZones", &[]))
            .await
            .unwrap()
    };
    for (ahead, expected) in [(0, 200), (50, 200), (70, 401), (-830, 200), (-850, 401)] {
        cloud.server.set_clock_ahead(SignedDuration::from_secs(ahead));
        let answer = status().await;
        assert_eq!(answer.status, expected, "{ahead} s ahead");
        let date = answer.headers["date"].to_str().unwrap();
        let date = jiff::fmt::rfc2822::parse(&date.replace("GMT", "+0000"))
            .unwrap()
            .timestamp();
        let skew = date.duration_since(Timestamp::now()).as_secs() - ahead;
        assert!(skew.abs() <= 2, "{date} is {skew} s off");
    }
}

#[tokio::test]
async fn expiry_comes_in_two_formats_and_only_counts_with_version_3() {
    let cloud = Cloud::start().await;
    let now = Timestamp::now() + SignedDuration::from_mins(1);
    let past = Timestamp::now() - SignedDuration::from_mins(1);
    let zulu = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let offset = (now + SignedDuration::from_hours(5))
        .strftime("%Y-%m-%dT%H:%M:%S+0500")
        .to_string();
    for (version, expires, status) in [
        ("3", zulu(now), 200),
        ("3", offset, 200),
        ("3", zulu(past), 401),
        ("3", "soon".to_owned(), 401),
        ("2", zulu(past), 200),
    ] {
        let params = [
            ("command", "listZones"),
            ("response", "json"),
            ("signatureVersion", version),
            ("expires", &expires),
        ];
        assert_eq!(
            cloud.user.post(&cloud.user.sign(&params)).await.unwrap().status,
            status,
            "{params:?}"
        );
    }
}

#[tokio::test]
async fn where_post_is_enforced_changes_are_posted_and_everything_expires() {
    let cloud = Cloud::with(|setup| setup.settings.enforcement = Enforcement::PostAndTimestamps).await;
    let id = uuid::Uuid::new_v4().to_string();
    let change = || cloud.user.signed("deleteVolume", &[("id", &id)]);
    assert_eq!(cloud.user.get(&change(), &[]).await.unwrap().status, 405);
    assert_eq!(cloud.user.post(&change()).await.unwrap().status, 431);
    let list = cloud.user.signed("listZones", &[]);
    assert_eq!(cloud.user.get(&list, &[]).await.unwrap().status, 200);
    let unlimited = cloud.user.sign(&[("command", "listZones"), ("response", "json")]);
    assert_eq!(cloud.user.post(&unlimited).await.unwrap().status, 401);
    cloud
        .server
        .change(|settings| settings.enforcement = Enforcement::None);
    assert_eq!(cloud.user.post(&unlimited).await.unwrap().status, 200);
}

#[tokio::test]
async fn parameters_are_judged_one_by_one() {
    let cloud = Cloud::start().await;
    let id = "8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10";
    let upper = id.to_uppercase();
    let unknown = "due to incorrect long value format, or entity does not exist";
    for (command, params, text) in [
        (
            "listVolumes",
            vec![("name", "a\tb")],
            "illegal ASCII non-printable characters for parameter name",
        ),
        ("listVolumes", vec![("id", id)], unknown),
        ("listVolumes", vec![("id", upper.as_str())], unknown),
        ("listVolumes", vec![("id", "7")], unknown),
        ("listVolumes", vec![("zoneid", id)], unknown),
        ("listVolumes", vec![("page", "1")], "along with"),
        (
            "listVolumes",
            vec![("page", "1"), ("pagesize", "501")],
            "exceeds its max value",
        ),
        (
            "attachVolume",
            vec![("virtualmachineid", id)],
            "due to missing parameter id",
        ),
        (
            "attachVolume",
            vec![("id", id), ("virtualmachineid", id)],
            unknown,
        ),
        ("deleteVolume", vec![("id", id)], unknown),
        ("detachVolume", vec![("id", id)], unknown),
        ("resizeVolume", vec![("id", id), ("size", "2")], unknown),
        ("revertSnapshot", vec![("id", id)], unknown),
        (
            "createTags",
            vec![
                ("resourceids", id),
                ("resourcetype", "Volume"),
                ("tags[0].key", "k"),
            ],
            unknown,
        ),
        ("queryAsyncJobResult", vec![("jobid", id)], unknown),
        (
            "createVolume",
            vec![("size", "x")],
            "missing parameter diskofferingid",
        ),
    ] {
        let refusal = cloud.user.call(command, &params).await.unwrap_err();
        assert_eq!(
            (refusal.code, refusal.class),
            (431, Some(4350)),
            "{command} {params:?}"
        );
        assert!(
            refusal.text.contains(text),
            "{command} {params:?}: {}",
            refusal.text
        );
    }
    let twice = Params::of(
        [("command", "listZones"), ("a", "1"), ("A", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    assert_eq!(cloud.user.post(&twice).await.unwrap().status, 430);
}

#[tokio::test]
async fn errors_have_an_envelope_and_a_header() {
    let cloud = Cloud::start().await;
    let params = cloud.user.signed("attachVolume", &[]);
    let answer = cloud.user.post(&params).await.unwrap();
    let text = "Unable to execute API command attachvolume due to missing parameter id";
    let expected = json!({"uuidList": [], "errorcode": 431, "cserrorcode": 4350, "errortext": text});
    assert_eq!(answer.envelope(), ("attachvolumeresponse".to_owned(), expected));
    assert_eq!(answer.headers["x-description"], text);
    let unknown = cloud
        .user
        .post(&cloud.user.signed("listNothing", &[]))
        .await
        .unwrap();
    assert_eq!(unknown.envelope().0, "errorresponse");
}

#[tokio::test]
async fn who_does_not_ask_for_json_gets_xml() {
    let cloud = Cloud::start().await;
    let params = cloud.user.sign(&[("command", "listZones")]);
    let answer = cloud.user.post(&params).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/xml; charset=UTF-8");
    assert!(answer.text.contains("<listzonesresponse>"), "{}", answer.text);
    assert!(answer.text.contains("<name>z1</name>"), "{}", answer.text);
}

#[tokio::test]
async fn too_many_calls_of_an_account_must_wait() {
    let limit = RateLimit {
        calls: 2,
        interval: Duration::from_secs(3600),
    };
    let cloud = Cloud::with(|setup| setup.settings.rate_limit = Some(limit)).await;
    let capabilities = cloud.user.call("listCapabilities", &[]).await.unwrap();
    assert_eq!(capabilities["capability"]["apilimitmax"], 2);
    assert!(cloud.user.call("listZones", &[]).await.is_ok());
    let refusal = cloud.user.call("listZones", &[]).await.unwrap_err();
    assert_eq!((refusal.code, refusal.class), (429, Some(4545)));
    let wait = refusal
        .text
        .split("please retry after ")
        .nth(1)
        .and_then(|rest| rest.strip_suffix(" ms."));
    let wait: u64 = wait.expect("the text says how long").parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");
    for _ in 0..5 {
        assert!(
            cloud.admin().call("listZones", &[]).await.is_ok(),
            "administrators are exempt"
        );
    }
    cloud.server.change(|settings| settings.rate_limit = None);
    assert!(cloud.user.call("listZones", &[]).await.is_ok());
}

#[tokio::test]
async fn the_apis_that_are_listed_are_those_that_may_be_called() {
    let cloud = Cloud::start().await;
    let names = async |caller: &whole_system_tests::cloudstack::Caller| -> Vec<String> {
        let listed = caller.call("listApis", &[]).await.unwrap();
        let apis = listed["api"].as_array().unwrap().clone();
        assert_eq!(listed["count"], apis.len());
        apis.iter()
            .map(|api| api["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let limited = cloud
        .server
        .caller(cloud.server.add_key(Role::only(&["listApis", "attachVolume"])));
    assert_eq!(names(&limited).await, ["listApis", "attachVolume"]);
    let admins = "listHypervisorCapabilities".to_owned();
    assert!(names(&cloud.admin()).await.contains(&admins));
    assert!(!names(&cloud.user).await.contains(&admins));
    for name in names(&cloud.user).await {
        let refusal = cloud.user.call(&name, &[]).await.err();
        assert_ne!(
            refusal.map(|refusal| refusal.code),
            Some(401),
            "{name} is listed and cannot be called"
        );
    }
}

#[tokio::test]
async fn what_the_server_has_is_listed() {
    let cloud = Cloud::start().await;
    let zones = cloud.user.call("listZones", &[("name", "z1")]).await.unwrap();
    assert_eq!(
        (&zones["count"], &zones["zone"][0]["id"]),
        (&json!(1), &json!(cloud.server.zone_id()))
    );
    let offerings = cloud.user.call("listDiskOfferings", &[]).await.unwrap();
    assert_eq!(offerings["count"], 2);
    let custom = cloud
        .user
        .call("listDiskOfferings", &[("name", "Custom")])
        .await
        .unwrap();
    assert_eq!(custom["diskoffering"][0]["iscustomized"], true);
    assert_eq!(custom["diskoffering"][0]["id"], json!(cloud.server.offering_id()));
    let limits = cloud
        .admin()
        .call("listHypervisorCapabilities", &[("hypervisor", "KVM")])
        .await
        .unwrap();
    assert_eq!(limits["hypervisorcapability"][0]["maxdatavolumeslimit"], 6);
    let vms = cloud
        .user
        .call("listVirtualMachines", &[("id", &cloud.vm())])
        .await
        .unwrap();
    assert_eq!(vms["virtualmachine"][0]["state"], "Running");
    let other = cloud.server.caller(cloud.server.credentials("other"));
    assert_eq!(other.call("listVirtualMachines", &[]).await.unwrap(), json!({}));
    assert_refused(
        other.call("stopVirtualMachine", &[("id", &cloud.vm())]).await,
        531,
        "does not have permission",
    );
}

#[tokio::test]
async fn what_comes_in_is_written_down_and_judged() {
    let cloud = Cloud::start().await;
    let id = cloud.create("a").await.to_string();
    assert_eq!(cloud.server.violations(), []);
    let change = cloud.user.signed("deleteVolume", &[("id", &id)]);
    cloud.server.faults().next("deleteVolume", Fault::LoseAnswer);
    cloud.user.get(&change, &[]).await.unwrap_err();
    cloud.user.post(&change).await.unwrap();
    let command = "deleteVolume".to_owned();
    assert_eq!(
        cloud.server.violations(),
        [
            Violation::ChangeByGet {
                command: command.clone()
            },
            Violation::SentTwice { command }
        ]
    );
    let received = cloud.server.snapshot().received;
    let last = received.last().unwrap();
    assert_eq!(
        (last.method.as_str(), last.command.as_str(), last.params.get("id")),
        ("POST", "deleteVolume", Some(id.as_str()))
    );
}
