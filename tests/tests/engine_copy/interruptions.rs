//! Engines that are stopped or killed, and daemons and sources that die under them.

use rustix::process::Signal;

use super::images::{FOREIGN, SIZE};
use super::support::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_stopped_gives_all_back_and_the_next_one_completes() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    // At once, while opening, while provisioning, and while copying.
    let moments = [
        ("opening", Signal::INT),
        ("into a", Signal::TERM),
        ("verified", Signal::INT),
    ];
    for (moment, signal) in moments {
        let mut engine = bench.start("stopped", &[image, "--rate", "4MiB"]);
        engine.says(moment).await;
        engine.signal(signal);
        let ended = engine.ended().await;
        assert_eq!(ended.code, Some(130), "{moment}: {ended:#?}");
        assert_eq!(ended.report["outcome"], "cancelled");
        assert_eq!(ended.report["disks"].as_array().unwrap().len(), 0);
        bench.assert_nothing_left().await;
    }
    bench.copied(&[image]).await;
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_engine_was_killed_the_next_one_completes() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    let mut engine = bench.start("killed", &[image, "--rate", "4MiB"]);
    engine.says("verified").await;
    drop(engine);
    assert_eq!(bench.runs().len(), 1, "its folder is left");
    let again = bench.copied(&[image]).await;
    assert!(
        again
            .stderr
            .contains("waiting for the lease of migrate-engine pid"),
        "{again:#?}"
    );
    assert_eq!(again.disk(0)["reused"], true);
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_another_engine_copies_into_is_refused_and_left_alone() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    let mut first = bench.start("first", &[image, "--rate", "2MiB"]);
    first.says("verified").await;
    let second = bench.start("second", &[image]).ended().await;
    second.assert_failed("holds lease");
    let first = first.ended().await;
    assert_eq!(first.code, Some(0), "{first:#?}");
    bench.assert_nothing_left().await;
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_and_started_again_is_not_noticed() {
    let Some(mut bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let mut engine = bench.start("one", &[raw.to_str().unwrap(), "--rate", "8MiB"]);
    engine.says("verified").await;
    bench.appliance.kill().await;
    bench.appliance.start().await;
    let ended = engine.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    bench.assert_nothing_left().await;
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_fails_the_copy() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let socket = bench.path(FOREIGN);
    let path = socket.to_str().unwrap();
    let mut server = bench.foreign_server(&raw, None).await;
    let uri = format!("nbd+unix:///there?socket={path}");
    let mut engine = bench.start("one", &[&uri, "--rate", "4MiB"]);
    engine.says("verified").await;
    server.kill();
    engine.ended().await.assert_failed("cannot copy disk");
    bench.assert_nothing_left().await;

    let mut engine = bench.start("one", &[raw.to_str().unwrap(), "--rate", "4MiB"]);
    engine.says("verified").await;
    bench.kill_server("qemu-nbd");
    engine.ended().await.assert_failed("cannot copy disk");
    bench.assert_nothing_left().await;
}
