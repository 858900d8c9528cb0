//! The way through a published export, with both servers, alone and side by side.

use std::fs;

use whole_system_tests::{nbd_certificates, wait_until};

use super::images::SIZE;
use super::support::{Bench, Ended, PATIENCE};

/// The arguments of the way through an export; `--exporter` last.
fn via(bench: &Bench, exporter: &str) -> Vec<String> {
    let mut arguments = vec!["--via-nbd".to_owned()];
    arguments.extend(bench.served_by(exporter));
    arguments
}

fn with<'a>(first: &[&'a str], rest: &'a [String]) -> Vec<&'a str> {
    let mut all = first.to_vec();
    all.extend(rest.iter().map(String::as_str));
    all
}

/// No export is recorded as live.
fn assert_no_live_export(bench: &Bench) {
    let (all, withdrawn) = bench.recorded_exports();
    assert_eq!(all, withdrawn);
    assert!(all > 0, "it was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_carry_a_copy_and_are_gone_afterwards() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = raw.to_str().unwrap();
    for exporter in ["qemu-storage-daemon", "nbd-server"] {
        let arguments = via(&bench, exporter);
        let ended = bench.copied(&with(&[image, "--overwrite"], &arguments)).await;
        assert_eq!(ended.disk(0)["route"], "nbd");
        assert!(
            ended.stderr.contains("published as nbd+unix:///migration-vol-"),
            "{ended:#?}"
        );
        assert_no_live_export(&bench);
    }
    bench.assert_holds(&bench.volume().await, &raw).await;
    assert_eq!(
        fs::read_dir(bench.appliance.dir().join("nbd/export.d"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_writes_through_exports_that_want_its_certificate() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.disk("disk.raw");
    let image = raw.to_str().unwrap();
    let folder = bench.path("pki");
    nbd_certificates(&folder);
    let folder = folder.to_str().unwrap().to_owned();
    for (exporter, allow) in [
        ("qemu-storage-daemon", None),
        ("qemu-storage-daemon", Some("O=acme,CN=backup")),
        ("nbd-server", None),
    ] {
        let mut arguments = via(&bench, exporter);
        arguments.extend(["--nbd-tls-certificates".to_owned(), folder.clone()]);
        arguments.extend(
            allow
                .iter()
                .flat_map(|party| ["--nbd-allow".to_owned(), (*party).to_owned()]),
        );
        let ended = bench.copied(&with(&[image, "--overwrite"], &arguments)).await;
        assert!(
            ended.stderr.contains("published as nbds+unix:///migration-vol-"),
            "{ended:#?}"
        );
        assert!(!ended.stderr.contains("tls-certificates"), "{ended:#?}");
        assert_no_live_export(&bench);
    }
    bench.assert_holds(&bench.volume().await, &raw).await;
    // What cannot be kept is refused with what to do, and nothing is left.
    for (exporter, arguments, words) in [
        (
            "nbd-server",
            ["--nbd-listen", "0.0.0.0:10809"],
            "--nbd-tls-certificates",
        ),
        ("nbd-server", ["--nbd-allow", "CN=backup"], "address"),
        ("qemu-storage-daemon", ["--nbd-allow", "10.0.0.0/8"], "TLS"),
        (
            "qemu-storage-daemon",
            ["--nbd-tls-certificates", "/nowhere"],
            "is missing",
        ),
    ] {
        let mut all = via(&bench, exporter);
        if arguments[0] == "--nbd-listen" {
            let at = all
                .iter()
                .position(|argument| argument == "--nbd-listen")
                .unwrap();
            all.drain(at..at + 2);
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        bench.refused(&with(&[image, "--overwrite"], &all), words).await;
    }
    assert_no_live_export(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_side_by_side_share_one_server() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let arguments = via(&bench, "qemu-storage-daemon");
    let disks: Vec<_> = (0..3)
        .map(|n| bench.full_disk(&format!("disk{n}.raw"), (4 + 2 * n) << 20))
        .collect();
    let engines: Vec<_> = (0..3)
        .map(|n| {
            let image = disks[n].to_str().unwrap();
            bench.start(&n.to_string(), &with(&[image, "--rate", "6MiB"], &arguments))
        })
        .collect();
    for engine in engines {
        let ended: Ended = engine.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
    bench.assert_nothing_left().await;
    assert_no_live_export(&bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_is_killed_fails_the_copy_and_the_next_one_completes() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let arguments = via(&bench, "qemu-storage-daemon");
    let image = raw.to_str().unwrap();
    let mut engine = bench.start("one", &with(&[image, "--rate", "4MiB"], &arguments));
    engine.says("published as").await;
    bench.kill_server("qemu-storage-daemon");
    engine.ended().await.assert_failed("cannot copy disk");
    bench.assert_nothing_left().await;
    bench.copied(&with(&[image], &arguments)).await;
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_engine_published_is_withdrawn_by_the_next() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let arguments = via(&bench, "qemu-storage-daemon");
    let image = raw.to_str().unwrap();
    let mut engine = bench.start("killed", &with(&[image, "--rate", "4MiB"], &arguments));
    engine.says("published as").await;
    drop(engine);
    // The source's server ends with the engine, a moment later; the shared one lives on.
    wait_until("only the shared server to be left", PATIENCE, async || {
        let left = bench.processes();
        assert!(!left.is_empty(), "the shared server has ended");
        (left.len() == 1).then_some(())
    })
    .await;
    // The next one does not even go through an export.
    bench.copied(&[image]).await;
    bench.assert_holds(&bench.volume().await, &raw).await;
    assert_no_live_export(&bench);
}
