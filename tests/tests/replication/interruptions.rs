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
        let bytes = bytes(n, MIB);
        site.vcenter.write(vm["id"].as_str().unwrap(), n * MIB, &bytes);
    }
    vm
}

/// A round of a storm: the guest writes 3 MiB, and a job begins. Returns it with a moment of its life.
async fn stirred(site: &Site, vm: &Value, round: u64, chance: &mut Chance) -> (String, Duration) {
    let id = vm["id"].as_str().unwrap();
    site.vcenter
        .write(id, (round % 12) * 4 * MIB + 512, &bytes(1000 + round, 3 * MIB));
    let job = site.submit(vm).await;
    let longest = if round == 0 { 6000 } else { 600 };
    (job, Duration::from_millis(chance.below(longest)))
}

/// That a job whose life was disturbed is as good as any.
async fn assert_unharmed(site: &Site, vm: &Value, job: &str, moment: Duration) -> Value {
    let ended = site.ended(job).await;
    assert_eq!(
        ended["status"],
        "completed",
        "after {moment:?}: {ended:#}\n{}",
        site.said()
    );
    site.assert_equal(vm, &ended).await;
    site.assert_nothing_left().await;
    ended
}

pub(crate) async fn moving(site: &Site, job: &str) {
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
    let ended = stopped_and_killed(&mut site, 40 * MIB).await;
    assert_eq!(ended["attempts"], 3);
}

/// A job under which the service is stopped, and then killed. At its end it has read less than `most` bytes again.
pub(crate) async fn stopped_and_killed(site: &mut Site, most: u64) -> Value {
    let vm = full_machine(site).await;
    let job = site.submit(&vm).await;
    for signal in [Signal::TERM, Signal::KILL] {
        moving(site, &job).await;
        // Two of six seconds' work, so that there is something to go on from.
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.end(signal);
        site.start().await;
    }
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let read = ended["disks"][0]["data_bytes"].as_u64().unwrap();
    assert!(
        read < most,
        "{read}: it began at the begin again\n{}",
        site.said()
    );
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
    ended
}

/// How many jobs of a storm have to be met by it. A job may be over before its moment comes.
const ENOUGH: u32 = 5;

/// Ten rounds, and more where too few jobs were met.
fn goes_on(round: u64, met: u32) -> bool {
    round < 10 || (met < ENOUGH && round < 40)
}

pub(crate) const STORM: [&str; 4] = ["--rate", "8MiB", "--attempts", "20"];

/// Jobs of one machine, each disturbed at a moment of its life, and each as good as any afterwards. `strike` does that, and
/// tells whether it surely met the job; an attempt more than one tells so, too.
pub(crate) async fn storm(
    site: &mut Site,
    seed: &str,
    strike: impl AsyncFn(&mut Site, &str, Duration) -> bool,
) {
    let vm = full_machine(site).await;
    let mut chance = Chance::seeded(seed);
    let (mut met, mut round) = (0, 0);
    while goes_on(round, met) {
        let (job, moment) = stirred(site, &vm, round, &mut chance).await;
        let was_met = strike(site, &job, moment).await;
        let ended = assert_unharmed(site, &vm, &job, moment).await;
        met += u32::from(was_met || ended["attempts"].as_u64() > Some(1));
        round += 1;
    }
    assert!(met >= ENOUGH, "{met} jobs were met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_at_ten_moments_ends_with_equal_disks_and_nothing_left() {
    let Some(mut site) = Site::started(&[], &STORM).await else {
        return;
    };
    storm(
        &mut site,
        "moments of the service's death",
        async |site, _, moment| {
            tokio::time::sleep(moment).await;
            site.end(Signal::KILL);
            site.start().await;
            false
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_ten_moments_does_no_harm() {
    let Some(mut site) = Site::started(&[], &STORM).await else {
        return;
    };
    storm(
        &mut site,
        "moments of the daemon's death",
        async |site, job, moment| {
            tokio::time::sleep(moment).await;
            let (_, now) = site.ask(Method::GET, &format!("/replications/{job}"), None).await;
            site.appliance.kill().await;
            site.appliance.start().await;
            now["status"] == "running"
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_killed_at_ten_moments_does_no_harm() {
    let Some(mut site) = Site::started(&[], &STORM).await else {
        return;
    };
    storm(
        &mut site,
        "moments of the exporter's death",
        async |site, job, moment| {
            site.exporter_or_end(job).await;
            tokio::time::sleep(moment / 3).await;
            site.kill_exporters() > 0
        },
    )
    .await;
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
    site.vcenter.write(id, 40 * MIB, &bytes(7, MIB));
    site.vcenter.remove_snapshots(id).await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(ended["attempts"].as_u64() > Some(1), "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_under_a_job_is_tried_once_and_the_job_can_be_done_again() {
    let Some(mut site) = Site::started(&[], &["--rate", "8MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    moving(&site, &job).await;
    site.end(Signal::KILL);
    let before = logins(&site);
    site.write_sources("another");
    site.start().await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!(ended["error"]["code"], "source_credentials");
    assert_eq!(logins(&site) - before, 1, "hosts lock accounts");
    let notes = ended["notes"].to_string();
    assert!(notes.contains("a snapshot may be left at the source"), "{notes}");

    site.write_sources(whole_system_tests::VCENTER_PASSWORD);
    site.hang_up("read anew").await;
    site.ask(Method::POST, &format!("/replications/{job}/retry"), None)
        .await;
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}

fn logins(site: &Site) -> u64 {
    site.vcenter.calls()["Login"].as_u64().unwrap_or_default()
}
