//! A worker beside the source: disks that come through it, and the worker, the service and the line failing.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;
use whole_system_tests::{plain_http, wait_until};

use super::interruptions::{STORM, full_machine, moving, stopped_and_killed, storm};
use super::support::{MIB, PATIENCE, Site, bytes};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_behind_a_worker_is_copied_and_then_kept_up_to_date() {
    let Some(site) = Site::with_worker(&["-max-extents", "7"], &[]).await else {
        return;
    };
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    for n in 0..20 {
        site.vcenter.write(id, n * 3 * MIB + 512, &bytes(n, 100_000));
    }
    let job = site.replicated(vm).await;
    assert_eq!(job["disks"][0]["mode"], "everything");
    let copied = &job["disks"][0];
    assert!(copied["verified_bytes"].as_u64().unwrap() >= 64 * MIB, "{copied}");
    site.assert_equal(vm, &job).await;
    site.vcenter.write(id, 7 * MIB + 4096, &bytes(99, 70_000));
    let job = site.replicated(vm).await;
    assert_eq!(job["disks"][0]["mode"], "changed", "{job:#}");
    assert!(
        job["disks"][0]["written_bytes"].as_u64().unwrap() < MIB,
        "{job:#}"
    );
    site.assert_equal(vm, &job).await;
    site.vcenter.post(&format!("cbtreset?vm={id}&disk=2000"));
    site.vcenter.write(id, 9 * MIB, &bytes(2, 10_000));
    let job = site.replicated(vm).await;
    assert_eq!(job["disks"][0]["mode"], "compared", "{job:#}");
    assert!(
        job["disks"][0]["written_bytes"].as_u64().unwrap() <= MIB,
        "{job:#}"
    );
    site.assert_equal(vm, &job).await;
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_ten_moments_ends_with_equal_disks_and_nothing_left() {
    let Some(mut site) = Site::with_worker(&[], &STORM).await else {
        return;
    };
    storm(
        &mut site,
        "moments of the worker's death",
        async |site, _, moment| {
            tokio::time::sleep(moment).await;
            site.end_worker(Signal::KILL);
            site.start_worker().await;
            false
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_a_worker_goes_on_where_it_was() {
    let Some(mut site) = Site::with_worker(&[], &["--rate", "8MiB"]).await else {
        return;
    };
    stopped_and_killed(&mut site, 48 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_lost_and_comes_back_costs_no_attempt_and_little_of_what_was_done() {
    let Some(site) = Site::with_worker(&[], &["--rate", "4MiB", "--attempts", "1"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    // A checkpoint is made every five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let wire = site.wire.as_ref().unwrap();
    wire.cut();
    wait_until("the loss to be noticed", PATIENCE, async || {
        let (_, now) = site.ask(Method::GET, &format!("/replications/{job}"), None).await;
        now["error"]["message"].as_str().map(str::to_owned)
    })
    .await;
    let (_, now) = site.ask(Method::GET, &format!("/replications/{job}"), None).await;
    assert_eq!(now["status"], "running", "{now:#}");
    wire.mend();
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", site.said());
    let read = ended["disks"][0]["data_bytes"].as_u64().unwrap();
    assert!(
        read < 40 * MIB,
        "{read}: it began at the begin again\n{}",
        site.said()
    );
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_while_its_worker_is_away_is_cleaned_up_when_that_is_back() {
    let Some(mut site) = Site::with_worker(&[], &["--rate", "8MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    site.end_worker(Signal::KILL);
    let (status, _) = site
        .ask(Method::POST, &format!("/replications/{job}/cancel"), None)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    site.start_worker().await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_there_is_said_and_waited_for() {
    let Some(mut site) = Site::with_worker(&[], &[]).await else {
        return;
    };
    let vm = site.machines().await.remove(0);
    site.vcenter.write(vm["id"].as_str().unwrap(), 0, &bytes(1, MIB));
    site.end_worker(Signal::TERM);
    // A request needs the worker: who asks is told at once, and nothing is begun.
    let (status, refused) = site
        .ask(Method::POST, "/replications", Some(&site.request(&vm)))
        .await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::BAD_GATEWAY, &json!("worker_away")),
        "{refused}"
    );
    assert!(
        refused["detail"].as_str().unwrap().contains("beside"),
        "{refused}"
    );
    site.start_worker().await;
    let job = site.submit(&vm).await;
    site.end_worker(Signal::TERM);
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.start_worker().await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_cannot_be_listened_to_say_why() {
    let Some(site) = Site::with_worker(&[], &[]).await else {
        return;
    };
    std::fs::write(site.file("wrong.token"), "a token that nobody knows").unwrap();
    let wrong = site.file("wrong.token").display().to_string();
    site.other_worker_says("brings no token, or a wrong one", &[("--token-file", &wrong)])
        .await;
    site.other_worker_says("another process of worker `beside` is connected", &[])
        .await;
    let other = site.vcenter.fingerprint.clone();
    site.other_worker_says("is not to be believed", &[("--fingerprint", &other)])
        .await;
    let sources = site.file("sources.toml").display().to_string();
    site.other_worker_says(
        "belongs into the file of sources of the service",
        &[("--sources", &sources)],
    )
    .await;
    site.other_worker_says("only https is spoken", &[("--service", "http://127.0.0.1:1")])
        .await;
    // What callers with credentials of their own ask the service for, they ask the worker for.
    let service = site.said();
    let discovery = service
        .rsplit_once("discovery: ")
        .unwrap()
        .1
        .split_once('\n')
        .unwrap()
        .0;
    let answer = plain_http()
        .post(format!("{discovery}/api/v1/discover"))
        .body(site.everything().to_string())
        .send()
        .await
        .unwrap();
    let refused: serde_json::Value = answer.json().await.unwrap();
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("through worker `beside`"),
        "{refused}"
    );
}
