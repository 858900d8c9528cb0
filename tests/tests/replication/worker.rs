//! A worker beside the source: disks that come through it, and the worker, the service and the line failing.

use std::time::Duration;

use rustix::process::Signal;
use whole_system_tests::Chance;

use super::interruptions::{ENOUGH, STORM, assert_unharmed, full_machine, goes_on, moving, stirred};
use super::support::{MIB, Site, bytes};

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
    let vm = full_machine(&site).await;
    let mut chance = Chance::seeded("moments of the worker's death");
    let mut met = 0;
    let mut round = 0;
    while goes_on(round, met) {
        let (job, moment) = stirred(&site, &vm, round, &mut chance).await;
        tokio::time::sleep(moment).await;
        site.end_worker(Signal::KILL);
        site.start_worker().await;
        let ended = assert_unharmed(&site, &vm, &job, moment).await;
        met += u32::from(ended["attempts"].as_u64() > Some(1));
        round += 1;
    }
    assert!(met >= ENOUGH, "{met} jobs were met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_a_worker_goes_on_where_it_was() {
    let Some(mut site) = Site::with_worker(&[], &["--rate", "8MiB"]).await else {
        return;
    };
    let vm = full_machine(&site).await;
    let job = site.submit(&vm).await;
    for signal in [Signal::TERM, Signal::KILL] {
        moving(&site, &job).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.end(signal);
        site.start().await;
    }
    let ended = site.ended(&job).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let read = ended["disks"][0]["data_bytes"].as_u64().unwrap();
    assert!(
        read < 48 * MIB,
        "{read}: it began at the begin again\n{}",
        site.said()
    );
    site.assert_equal(&vm, &ended).await;
    site.assert_nothing_left().await;
}
