//! The reconciler on real loop devices: what somebody did behind the daemon's back is found, and repaired where that is safe.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::{Place, Running};
use tokio_util::sync::CancellationToken;
use volume_client::types::FindingKind;
use volumed::model::VolumeState;
use volumed::reconcile::Reconciler;

fn losetup(arguments: &[&str]) -> String {
    let output = Command::new("losetup").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "losetup {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn backing_file(node: &str) -> String {
    let path = node.replace("/dev/", "/sys/block/") + "/loop/backing_file";
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn reconciler(place: &Place, run: &Running) -> Arc<Reconciler> {
    let (cloud, timer) = (Arc::clone(&place.cloud), Duration::from_secs(3600));
    Reconciler::new(
        run.store.clone(),
        cloud,
        run.feed.clone(),
        run.operations.clone(),
        timer,
    )
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_came_back_as_another_incarnation_is_bound_anew_by_itself() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("swapped", 4 << 20).await;
    let node = run.attach(id).await;
    run.stop().await;
    let file = backing_file(&node);
    losetup(&["-d", &node]);
    let again = losetup(&["-f", "--show", &file]);

    let run = place.start().await;
    assert!(run.operations.device(id).await.is_err());
    let stop = CancellationToken::new();
    let reconciling = tokio::spawn(reconciler(&place, &run).run(stop.clone()));
    until("bound anew", async || {
        run.operations
            .device(id)
            .await
            .is_ok_and(|device| device.observed.device_path == again)
    })
    .await;
    stop.cancel();
    reconciling.await.unwrap();
    run.done(Some(id), volumed::model::Request::Detach {}).await;
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_somebody_ended_is_recorded_as_ended() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("gone", 4 << 20).await;
    let node = run.attach(id).await;
    run.stop().await;
    losetup(&["-d", &node]);

    let run = place.start().await;
    let stop = CancellationToken::new();
    let reconciling = tokio::spawn(reconciler(&place, &run).run(stop.clone()));
    until("recorded as available", async || {
        run.volume(id).await.state == VolumeState::Available
    })
    .await;
    stop.cancel();
    reconciling.await.unwrap();
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_after_a_foreign_detach_is_a_finding_and_is_not_touched() {
    let Some(place) = Place::new() else { return };
    let run = place.start().await;
    let id = run.create("phantom", 4 << 20).await;
    let node = run.attach(id).await;
    // The daemon's pin keeps the device: the kernel only marks it to go.
    losetup(&["-d", &node]);
    let reconciler = reconciler(&place, &run);
    reconciler.pass().await.unwrap();
    let findings = reconciler.findings();
    assert_eq!(
        findings.iter().map(|f| f.kind).collect::<Vec<_>>(),
        [FindingKind::Phantom],
        "{findings:?}"
    );
    assert_eq!(findings[0].operation_id, None);
    assert_eq!(run.volume(id).await.state, VolumeState::InUse);
    run.done(Some(id), volumed::model::Request::Detach {}).await;
    run.stop().await;
}
