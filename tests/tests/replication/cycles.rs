//! Machines from their first copy to their last update, each equal to what its guest sees.

use futures_util::future::join_all;
use serde_json::Value;

use super::support::{MIB, Site, bytes};

fn modes(job: &Value) -> Vec<&str> {
    let disks = job["disks"].as_array().unwrap();
    disks.iter().map(|disk| disk["mode"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_copied_and_then_kept_up_to_date() {
    let Some(site) = Site::started(&["-max-extents", "7"], &[]).await else {
        return;
    };
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    for n in 0..20 {
        site.vcenter.write(id, n * 3 * MIB + 512, &bytes(n, 100_000));
    }
    let job = site.replicated(vm).await;
    assert_eq!(modes(&job), ["everything"]);
    assert_eq!(job["replication_type"], "initial");
    let steps: Vec<_> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["name"])
        .collect();
    assert_eq!(
        steps,
        [
            "job_record",
            "disks_analysed",
            "volumes_provisioned",
            "volumes_attached",
            "nbd_exports",
            "transfer_started",
            "transfer_followed"
        ]
    );
    assert!(
        job["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["status"] == "done")
    );
    assert_eq!(job["conditions"][0]["type"], "Succeeded");
    site.assert_nothing_left().await;
    site.assert_equal(vm, &job).await;

    for cycle in 1..4 {
        site.vcenter
            .write(id, cycle * 7 * MIB + 4096, &bytes(100 + cycle, 70_000));
        let job = site.replicated(vm).await;
        assert_eq!(job["replication_type"], "incremental");
        assert_eq!(modes(&job), ["changed"], "{job:#}");
        let written = job["disks"][0]["written_bytes"].as_u64().unwrap();
        assert!(written < MIB, "{written}");
        site.assert_equal(vm, &job).await;
    }
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_change_tracking_is_said_and_the_whole_disk_compared() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    site.vcenter.write(id, 0, &bytes(1, 2_000_000));
    site.replicated(vm).await;
    site.vcenter.post(&format!("cbtreset?vm={id}&disk=2000"));
    site.vcenter.write(id, 9 * MIB, &bytes(2, 10_000));
    let job = site.replicated(vm).await;
    assert_eq!(modes(&job), ["compared"]);
    let reason = job["disks"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("tracking began anew"), "{reason}");
    assert!(job["notes"].to_string().contains("tracking began anew"));
    site.assert_equal(vm, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_grew_is_copied_whole_and_one_that_outgrew_its_volume_is_said() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    site.vcenter.write(id, 0, &bytes(1, 500_000));
    site.replicated(vm).await;
    let grow = |bytes: u64| {
        site.vcenter
            .post(&format!("grow?vm={id}&disk=2000&bytes={bytes}"))
    };
    grow(65 * MIB);
    site.vcenter.write(id, 64 * MIB + 512, &bytes(2, 9000));
    let job = site.replicated(vm).await;
    assert_eq!(modes(&job), ["everything"]);
    assert!(job["notes"].to_string().contains("size changed"), "{job:#}");
    site.assert_equal(vm, &job).await;
    grow(90 * MIB);
    let job = site.ended(&site.submit(vm).await).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    assert_eq!(job["error"]["code"], "volume_too_small");
    assert_eq!(job["attempts"], 1, "trying again would be in vain");
    site.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_distrusted_is_read_whole_and_compared() {
    let Some(site) = Site::started(&[], &["--distrust-change-tracking", "--to-device"]).await else {
        return;
    };
    let vm = &site.machines().await[0];
    let id = vm["id"].as_str().unwrap();
    site.vcenter.write(id, 0, &bytes(1, 3_000_000));
    site.replicated(vm).await;
    site.vcenter.write(id, 2 * MIB, &bytes(2, 9000));
    let job = site.replicated(vm).await;
    assert_eq!(modes(&job), ["compared"]);
    let written = job["disks"][0]["written_bytes"].as_u64().unwrap();
    // One block differs; what of it is zero is not sent.
    assert!((9000..=MIB).contains(&written), "{written}");
    site.assert_equal(vm, &job).await;
    site.assert_nothing_left().await;
}

const TWENTY: [&str; 4] = ["-vms", "20", "-disk-size", "16777216"];

#[tokio::test(flavor = "multi_thread")]
async fn twenty_machines_are_replicated_three_at_once_and_updated() {
    if let Some(site) = Site::started(&TWENTY, &[]).await {
        twenty_machines(&site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_machines_are_replicated_through_a_worker_three_at_once_and_updated() {
    if let Some(site) = Site::with_worker(&TWENTY, &[]).await {
        twenty_machines(&site).await;
    }
}

async fn twenty_machines(site: &Site) {
    let machines: Vec<Value> = site.machines().await.into_iter().take(20).collect();
    assert_eq!(machines.len(), 20);
    for round in 0..2 {
        for (n, vm) in machines.iter().enumerate() {
            let n = n as u64 + 100 * round;
            site.vcenter
                .write(vm["id"].as_str().unwrap(), (n % 15) * MIB, &bytes(n, 300_000));
        }
        let mut jobs = Vec::new();
        for vm in &machines {
            jobs.push(site.submit(vm).await);
        }
        let watching = async {
            let mut most = 0;
            loop {
                let (_, page) = site
                    .ask(reqwest::Method::GET, "/replications?limit=40", None)
                    .await;
                let page = page["replications"].as_array().unwrap().clone();
                let count = |status: &str| page.iter().filter(|job| job["status"] == status).count();
                most = most.max(count("running"));
                if count("running") + count("pending") == 0 {
                    return most;
                }
            }
        };
        let (ended, most) = tokio::join!(join_all(jobs.iter().map(|job| site.ended(job))), watching);
        assert_eq!(most, 3);
        for (vm, job) in machines.iter().zip(&ended) {
            assert_eq!(job["status"], "completed", "{job:#}");
            assert_eq!(modes(job), [if round == 0 { "everything" } else { "changed" }]);
            site.assert_equal(vm, job).await;
        }
    }
    site.assert_nothing_left().await;
}
