//! `volumectl doctor` beside a real daemon: healthy, with a loop device that somebody else made over a volume, and dead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use volume_client::types::{CheckArea, CheckStatus, DoctorCheck, DoctorReport};
use whole_system_tests::{Appliance, Outcome, backing_file, run, volumectl, wait_until};

const MIB: u64 = 1 << 20;

fn doctor(appliance: &Appliance) -> (Outcome, DoctorReport) {
    let outcome = volumectl(&appliance.setup.socket, ["doctor", "--json"]);
    let report = serde_json::from_value(outcome.json()).unwrap();
    (outcome, report)
}

fn named<'a>(report: &'a DoctorReport, area: CheckArea, name: &str) -> &'a DoctorCheck {
    let mut checks = report.checks.iter();
    let found = checks.find(|check| check.area == area && check.name == name);
    found.unwrap_or_else(|| panic!("no check `{name}` of {area:?} in {report:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_works_is_well_with_volumes_attached() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let volume = appliance.create("web", MIB).await;
    appliance.attach(volume.id).await;
    let (outcome, report) = doctor(&appliance);
    let failed: Vec<_> = report
        .checks
        .iter()
        .filter(|c| c.status == CheckStatus::Failed)
        .collect();
    // Disks that are none of ours may be unwell on the machine that tests run on.
    assert!(
        failed.iter().all(|check| check.area == CheckArea::Devices),
        "{failed:#?}"
    );
    assert_eq!(outcome.code, Some(i32::from(!failed.is_empty())), "{outcome:#?}");
    for name in ["store", "cloud", "watcher", "recovery"] {
        assert_eq!(
            named(&report, CheckArea::Daemon, name).status,
            CheckStatus::Passed
        );
    }
    let buses = named(&report, CheckArea::Devices, "disk buses");
    assert!(buses.seen.contains("loop: "), "{buses:?}");
    let client = appliance.client();
    assert_eq!(client.doctor().await.unwrap().checks.len(), report.checks.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_over_a_volumes_file_is_seen() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let volume = appliance.create("web", MIB).await;
    let device = appliance.attach(volume.id).await.device_path;
    let file = backing_file(&device).unwrap();
    let twin = run("losetup", ["-f", "--show", file.to_str().unwrap()]);
    let (_, report) = doctor(&appliance);
    let twins = named(&report, CheckArea::Devices, "serial twins").clone();
    run("losetup", ["-d", &twin]);
    assert_ne!(twins.status, CheckStatus::Passed, "{twins:?}");
    for node in [&device, &twin] {
        assert!(twins.seen.contains(node.as_str()), "{node} is not in {twins:?}");
    }
    wait_until("the twin to be gone", Duration::from_secs(10), async || {
        let (_, report) = doctor(&appliance);
        let twins = named(&report, CheckArea::Devices, "serial twins");
        (!twins.seen.contains(&twin)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_its_program_examines() {
    let Some(mut appliance) = Appliance::started().await else {
        return;
    };
    appliance.kill().await;
    let outcome = volumectl(&appliance.setup.socket, ["doctor", "--json"]);
    assert!(outcome.stderr.contains("no daemon answers at"), "{outcome:#?}");
    let report: DoctorReport = serde_json::from_value(outcome.json()).unwrap();
    named(&report, CheckArea::Daemon, "configuration");
    named(&report, CheckArea::Devices, "device events");
    let expected = if report.has_failures() { 1 } else { 3 };
    assert_eq!(outcome.code, Some(expected), "{outcome:#?}");
}
