//! Jobs that are cancelled, and the service, the daemon, the exporter and the vCenter failing under them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use whole_system_tests::{Chance, wait_until};

use super::support::{MIB, PATIENCE, Site, bytes};

/// A machine with 48 MiB in its disk of 64 MiB.
pub(crate) async fn full_machine(site: &Site) -> Value {
    let vm = site.machines().await.remove(0);
    for n in 0..48 {
        let bytes = bytes(n, MIB as usize);
        site.vcenter.write(vm["id"].as_str().unwrap(), n * MIB, &bytes);
    }
    vm
}

async fn moving(site: &Site, job: &str) {
    wait_until(&format!("bytes of {job} to move"), PATIENCE, async || {
        let (_, job) = site.ask(Method::GET, &format!("/replications/{job}"), None).await;
        assert!(
            matches!(job["status"].as_str(), Some("pending" | "running")),
            "{job:#}"
        );
        (job["progress"]["data_done_bytes"].as_u64() > Some(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_leaves_nothing_and_can_be_done_again() {
    let Some(site) = Site::started(&[], &["--rate", "16MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    let (status, busy) = site
        .ask(Method::POST, "/replications", Some(&site.request(&vm)))
        .await;
    assert_eq!(
        (status, &busy["code"]),
        (StatusCode::CONFLICT, &json!("replication_in_progress"))
    );
    let path = format!("/replications/{job}/cutover-ready");
    let (status, early) = site.ask(Method::POST, &path, None).await;
    assert_eq!(
        (status, &early["code"]),
        (StatusCode::CONFLICT, &json!("wrong_state"))
    );

    let cancel = format!("/replications/{job}/cancel");
    let (status, asked) = site.ask(Method::POST, &cancel, None).await;
    assert_eq!(
        (status, &asked["cancel_requested"]),
        (StatusCode::ACCEPTED, &json!(true))
    );
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    assert_eq!(ended["conditions"][0]["type"], "Canceled");
    site.assert_nothing_left().await;
    let (status, again) = site.ask(Method::POST, &cancel, None).await;
    assert_eq!(
        (status, &again["status"]),
        (StatusCode::ACCEPTED, &json!("cancelled"))
    );

    let (status, _) = site
        .ask(Method::POST, &format!("/replications/{job}/retry"), None)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
    let (status, ready) = site.ask(Method::POST, &path, None).await;
    assert_eq!((status, &ready["cutover_ready"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_or_killed_goes_on_where_it_was() {
    let Some(mut site) = Site::started(&[], &["--rate", "8MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    for signal in [Signal::TERM, Signal::KILL] {
        moving(&site, &job).await;
        // Two of six seconds' work, so that there is something to go on from.
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.end(signal);
        site.start().await;
    }
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(ended["attempts"], 3);
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
async fn a_service_killed_at_ten_moments_ends_with_equal_disks_and_nothing_left() {
    let Some(mut site) = Site::started(&[], &["--rate", "24MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let id = vm["id"].as_str().unwrap();
    let mut chance = Chance::seeded("moments of the service's death");
    for round in 0..10 {
        site.vcenter
            .write(id, (round * 5) * MIB + 512, &bytes(1000 + round, 200_000));
        let job = site.submit(&vm).await;
        let moment = Duration::from_millis(chance.below(if round == 0 { 4000 } else { 600 }));
        tokio::time::sleep(moment).await;
        site.end(Signal::KILL);
        site.start().await;
        let ended = site.ended(&job).await;
        assert_eq!(
            ended["status"],
            "completed",
            "after {moment:?}: {ended:#}\n{}",
            site.said()
        );
        site.assert_equal(&vm, &ended).await;
        site.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_ten_moments_does_no_harm() {
    let Some(mut site) = Site::started(&[], &["--rate", "24MiB", "--attempts", "20"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let id = vm["id"].as_str().unwrap();
    let mut chance = Chance::seeded("moments of the daemon's death");
    for round in 0..10 {
        site.vcenter
            .write(id, (round * 5) * MIB + 512, &bytes(1000 + round, 200_000));
        let job = site.submit(&vm).await;
        let moment = Duration::from_millis(chance.below(if round == 0 { 4000 } else { 600 }));
        tokio::time::sleep(moment).await;
        site.appliance.kill().await;
        site.appliance.start().await;
        let ended = site.ended(&job).await;
        assert_eq!(
            ended["status"],
            "completed",
            "after {moment:?}: {ended:#}\n{}",
            site.said()
        );
        site.assert_equal(&vm, &ended).await;
        site.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_killed_at_ten_moments_does_no_harm() {
    let Some(site) = Site::started(&[], &["--rate", "24MiB", "--attempts", "20"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let id = vm["id"].as_str().unwrap();
    let mut chance = Chance::seeded("moments of the exporter's death");
    let mut killed = 0;
    for round in 0..10 {
        site.vcenter
            .write(id, (round * 5) * MIB + 512, &bytes(1000 + round, 200_000));
        let job = site.submit(&vm).await;
        let moment = Duration::from_millis(chance.below(if round == 0 { 4000 } else { 600 }));
        tokio::time::sleep(moment).await;
        killed += site.kill_exporters();
        let ended = site.ended(&job).await;
        assert_eq!(
            ended["status"],
            "completed",
            "after {moment:?}: {ended:#}\n{}",
            site.said()
        );
        site.assert_equal(&vm, &ended).await;
        site.assert_nothing_left().await;
    }
    assert!(killed > 2, "{killed} exporters met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vcenter_that_stumbles_in_the_middle_does_no_harm() {
    let Some(site) = Site::started(&[], &["--rate", "24MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    site.vcenter.post("drop?n=3");
    site.vcenter.post("expire");
    site.vcenter.post("status?n=2&code=503");
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    // A snapshot that cannot be made fails the job, after as many attempts as there may be, and leaves nothing.
    site.vcenter.post("fault?method=CreateSnapshot_Task&n=9&task=1");
    let ended = site.ended(&site.submit(&vm).await).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!(ended["attempts"], 3);
    assert_eq!(ended["conditions"][0]["type"], "Failed");
    assert!(
        ended["error"]["message"].as_str().unwrap().contains("snapshot"),
        "{ended:#}"
    );
    site.vcenter.post("fault?method=CreateSnapshot_Task&n=0&task=1");
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_somebody_removes_under_a_copy_is_not_believed() {
    let Some(site) = Site::started(&[], &["--rate", "16MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let id = vm["id"].as_str().unwrap();
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    site.vcenter.write(id, 40 * MIB, &bytes(7, MIB as usize));
    site.vcenter.remove_snapshots(id).await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(ended["attempts"].as_u64() > Some(1), "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}
