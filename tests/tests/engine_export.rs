//! `migrate-engine export` from end to end: the real engine and daemon, real devices, both NBD servers, clients from outside.
//!
//! However an export ends, nothing may be left of it but volumes that are as they were.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine_copy/support.rs"]
mod support;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{Bench, Ended, PATIENCE, Running};
use volume_client::types::{Cursor, LeaseAccess, LeasePurpose, NewLease, Volume, VolumeState};
use whole_system_tests::{backing_file, run, set_capacity, wait_until};

const MIB: u64 = 1 << 20;
const BACKENDS: [&str; 2] = ["qemu-storage-daemon", "nbd-server"];

/// Starts an export of these volumes.
fn start(bench: &Bench, name: &str, exporter: &str, arguments: &[&str]) -> Running {
    let served = bench.served_by(exporter);
    let mut all: Vec<&str> = served.iter().map(String::as_str).collect();
    all.extend(arguments);
    bench.start_command(name, "export", &all)
}

/// The lines of an export once all of its volumes are published.
async fn lines(export: &mut Running) -> Vec<Value> {
    export.says("published; SIGINT or SIGTERM ends it").await;
    let printed = export.printed();
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The address of the only export.
async fn only_uri(export: &mut Running) -> String {
    let lines = lines(export).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    uri(&lines[0])
}

fn uri(line: &Value) -> String {
    line["uri"].as_str().unwrap().to_owned()
}

async fn stop(export: Running, signal: Signal) -> Ended {
    export.signal(signal);
    export.ended().await
}

/// Whether a client from outside is served.
fn is_served(uri: &str) -> bool {
    let mut client = Command::new("nbdinfo");
    let output = client.args(["--size", uri]).stdin(Stdio::null()).output();
    output.expect("nbdinfo is installed").status.success()
}

/// Writes a file that is like no other.
fn noise(path: &Path, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = File::open("/dev/urandom").unwrap();
    source.take(size).read_to_end(&mut bytes).unwrap();
    fs::write(path, &bytes).unwrap();
    bytes
}

async fn state(bench: &Bench, volume: &Volume) -> VolumeState {
    bench.appliance.client().volume(volume.id).await.unwrap().state
}

/// That nothing of any export is left: no lease, no server, no record, no folder. Volumes may still be attached.
async fn assert_no_export_left(bench: &Bench) {
    let leases = bench.appliance.client().list_leases(&Cursor::default()).await;
    assert_eq!(leases.unwrap().items, []);
    assert_eq!(bench.processes(), Vec::<String>::new());
    bench.assert_no_files_left();
    let (all, withdrawn) = bench.recorded_exports();
    assert_eq!(all, withdrawn);
    let drop_ins = bench.appliance.dir().join("nbd/export.d");
    let drop_ins = fs::read_dir(drop_ins).map_or(0, Iterator::count);
    assert_eq!(drop_ins, 0);
}

fn failed(ended: &Ended, words: &str) {
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains(words), "`{words}` is not in {ended:#?}");
    assert_eq!(ended.stdout, "", "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_volumes_are_written_and_read_from_outside_by_both_servers() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    for exporter in BACKENDS {
        let sizes = [8 * MIB, 4 * MIB];
        let names = ["first", "second"].map(|name| format!("{name}-{exporter}"));
        let mut volumes = Vec::new();
        for (name, size) in names.iter().zip(sizes) {
            let volume = bench.appliance.create(name, size).await;
            let device = bench.appliance.attach(volume.id).await.device_path;
            volumes.push((volume, device));
        }
        // One by its id, one by its name.
        let id = volumes[0].0.id.to_string();
        let mut export = start(&bench, exporter, exporter, &["--json", &id, &names[1]]);
        let lines = lines(&mut export).await;
        assert_eq!(lines.len(), 2, "{lines:#?}");
        let mut written = Vec::new();
        for ((line, (volume, device)), size) in lines.iter().zip(&volumes).zip(sizes) {
            assert_eq!(line["volume_id"], volume.id.to_string());
            assert_eq!(line["export"], format!("migration-vol-{}", volume.id));
            assert_eq!(line["size_bytes"], size);
            assert_eq!(line["device_path"], **device);
            let uri = uri(line);
            assert_eq!(run("nbdinfo", ["--size", &uri]), size.to_string());
            let (there, back) = (bench.path("there"), bench.path("back"));
            let bytes = noise(&there, size);
            run("nbdcopy", ["--flush", there.to_str().unwrap(), &uri]);
            run("nbdcopy", [&uri, back.to_str().unwrap()]);
            assert!(
                fs::read(&back).unwrap() == bytes,
                "{uri} does not give back what was written"
            );
            written.push(bytes);
        }
        let ended = stop(export, Signal::TERM).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_no_export_left(&bench).await;
        for ((volume, device), bytes) in volumes.iter().zip(written) {
            assert_eq!(
                state(&bench, volume).await,
                VolumeState::InUse,
                "it was attached before"
            );
            assert!(
                fs::read(device).unwrap() == bytes,
                "{device} does not hold what was written"
            );
            bench.appliance.detach(volume.id).await;
        }
    }
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_a_line_with_address_volume_and_size_over_tcp_too() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("tcp", 3 * MIB).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["--nbd-listen", &listen, "--attach", "--detach", "tcp"];
    let mut export = bench.start_command("tcp", "export", &arguments);
    export.says("1 published").await;
    let uri = format!("nbd://{listen}/migration-vol-{}", volume.id);
    assert_eq!(export.printed(), format!("{uri}  volume {}  3 MiB\n", volume.id));
    assert_eq!(run("nbdinfo", ["--size", &uri]), (3 * MIB).to_string());
    let ended = stop(export, Signal::INT).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_when_told_to_are_volumes_attached_and_detached() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("web", MIB).await;
    let exporter = BACKENDS[0];
    let ended = start(&bench, "refused", exporter, &["web"]).ended().await;
    failed(&ended, "is not attached\nhint: --attach attaches it");
    bench.assert_nothing_left().await;

    let mut export = start(&bench, "attach", exporter, &["web", "--attach", "--json"]);
    only_uri(&mut export).await;
    assert_eq!(state(&bench, &volume).await, VolumeState::InUse);
    assert_eq!(stop(export, Signal::TERM).await.code, Some(0));
    assert_no_export_left(&bench).await;
    assert_eq!(state(&bench, &volume).await, VolumeState::InUse, "it is to stay");

    // Named twice is meant once.
    let id = volume.id.to_string();
    let mut export = start(&bench, "detach", exporter, &["web", &id, "--detach", "--json"]);
    only_uri(&mut export).await;
    assert_eq!(stop(export, Signal::TERM).await.code, Some(0));
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_refused_before_anything_is_done() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    bench.appliance.create("here", MIB).await;
    let nobody = "01900000-0000-7000-8000-000000000001";
    for unknown in [nobody, "elsewhere"] {
        let arguments = ["here", unknown, "--attach"];
        let ended = start(&bench, "unknown", BACKENDS[0], &arguments).ended().await;
        failed(&ended, &format!("error: there is no volume `{unknown}`"));
        assert!(
            ended.stderr.contains("hint: `volumectl volumes list`"),
            "{ended:#?}"
        );
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_published_or_none_and_what_was_attached_for_it_is_detached() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let client = bench.appliance.client();
    for exporter in BACKENDS {
        let first = bench.appliance.create(&format!("free-{exporter}"), MIB).await;
        let taken = bench.appliance.create(&format!("taken-{exporter}"), MIB).await;
        bench.appliance.attach(taken.id).await;
        let lease = NewLease {
            volume_id: taken.id,
            purpose: LeasePurpose::Conversion,
            access: LeaseAccess::Write,
            holder: "somebody who lives".to_owned(),
            detail: None,
            ttl_seconds: Some(3600),
        };
        let grant = client.take_lease(&lease).await.unwrap();
        let (first_id, taken_id) = (first.id.to_string(), taken.id.to_string());
        let arguments = [first_id.as_str(), taken_id.as_str(), "--attach", "--detach"];
        let ended = start(&bench, "half", exporter, &arguments).ended().await;
        failed(
            &ended,
            &format!("cannot open the device for export `migration-vol-{taken_id}`"),
        );
        assert!(ended.stderr.contains("somebody who lives"), "{ended:#?}");
        assert_eq!(state(&bench, &first).await, VolumeState::Available);
        assert_eq!(
            state(&bench, &taken).await,
            VolumeState::InUse,
            "it is somebody else's"
        );
        client.release_lease(grant.lease.id).await.unwrap();
        bench.appliance.detach(taken.id).await;
        assert_no_export_left(&bench).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_record_and_kernel_do_not_agree_there_is_no_export() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("web", MIB).await;
    let device = bench.appliance.attach(volume.id).await.device_path;
    let file = backing_file(&device).unwrap();
    let resize = |size| {
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(size)
            .unwrap();
        set_capacity(&device);
    };
    // Somebody grew the device behind the daemon's back.
    resize(2 * MIB);
    let ended = start(&bench, "refused", BACKENDS[0], &["web"]).ended().await;
    failed(&ended, "(size_mismatch)");
    assert_no_files_and_servers(&bench).await;
    assert_eq!(state(&bench, &volume).await, VolumeState::InUse);

    resize(MIB);
    let mut export = start(&bench, "agreed", BACKENDS[0], &["web", "--detach", "--json"]);
    only_uri(&mut export).await;
    assert_eq!(stop(export, Signal::TERM).await.code, Some(0));
    bench.assert_nothing_left().await;
}

async fn assert_no_files_and_servers(bench: &Bench) {
    assert_eq!(bench.processes(), Vec::<String>::new());
    bench.assert_no_files_left();
    assert_eq!(
        bench.recorded_exports(),
        (0, 0),
        "nothing was even about to be published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_its_lease_and_the_others_stay() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let client = bench.appliance.client();
    for exporter in BACKENDS {
        let mut volumes = Vec::new();
        for name in ["lost", "kept"] {
            let volume = bench.appliance.create(&format!("{name}-{exporter}"), MIB).await;
            bench.appliance.attach(volume.id).await;
            volumes.push(volume);
        }
        let ids = volumes
            .iter()
            .map(|volume| volume.id.to_string())
            .collect::<Vec<_>>();
        let mut export = start(&bench, "lease", exporter, &[&ids[0], &ids[1], "--json"]);
        let uris: Vec<_> = lines(&mut export).await.iter().map(uri).collect();
        assert!(is_served(&uris[0]) && is_served(&uris[1]));

        let leases = client.list_leases(&Cursor::default()).await.unwrap().items;
        let lease = leases
            .iter()
            .find(|lease| lease.volume_id == volumes[0].id)
            .unwrap();
        assert_eq!(lease.purpose, LeasePurpose::Export);
        client.release_lease(lease.id).await.unwrap();
        let words = format!(
            "the export of volume {} has ended: the daemon ended its lease",
            ids[0]
        );
        export.says(&words).await;
        wait_until("the export to be withdrawn", PATIENCE, async || {
            (!is_served(&uris[0])).then_some(())
        })
        .await;
        // A new client of nbd-server may come between two masters: docs/adr/0005.
        wait_until("the other one to be served on", PATIENCE, async || {
            is_served(&uris[1]).then_some(())
        })
        .await;

        let ended = stop(export, Signal::TERM).await;
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.contains(&format!("error: {words}")), "{ended:#?}");
        assert_no_export_left(&bench).await;
        for volume in &volumes {
            bench.appliance.detach(volume.id).await;
        }
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_dies_served_is_published_again() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    for exporter in BACKENDS {
        let mut arguments = vec!["--attach", "--detach", "--json"];
        let names = [format!("one-{exporter}"), format!("two-{exporter}")];
        for name in &names {
            bench.appliance.create(name, MIB).await;
            arguments.push(name);
        }
        let mut export = start(&bench, "server", exporter, &arguments);
        let uris: Vec<_> = lines(&mut export).await.iter().map(uri).collect();
        let (there, back) = (bench.path("there"), bench.path("back"));
        let bytes = noise(&there, MIB);
        run("nbdcopy", ["--flush", there.to_str().unwrap(), &uris[1]]);
        bench.kill_servers(exporter);
        wait_until("both to be served again", PATIENCE, async || {
            uris.iter().all(|uri| is_served(uri)).then_some(())
        })
        .await;
        run("nbdcopy", [&uris[1], back.to_str().unwrap()]);
        assert!(fs::read(&back).unwrap() == bytes, "it is another disk");
        if exporter == "qemu-storage-daemon" {
            // nbd-server's exports stand in its configuration: a new one has them without our help.
            export.says("its NBD server had died; published again").await;
        }
        let ended = stop(export, Signal::TERM).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_no_export_left(&bench).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_server_can_take_the_place_of_a_dead_one_the_export_ends() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("web", MIB).await;
    let mut export = start(&bench, "server", BACKENDS[0], &["web", "--attach", "--json"]);
    only_uri(&mut export).await;
    // Held while the place is taken, so that it cannot be quicker.
    export.signal(Signal::STOP);
    bench.kill_servers(BACKENDS[0]);
    let socket = bench.appliance.dir().join("nbd.sock");
    fs::remove_file(&socket).unwrap();
    fs::create_dir_all(socket.join("in the way")).unwrap();
    export.signal(Signal::CONT);
    let ended = export.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let words = format!(
        "error: the export of volume {} has ended: its NBD server died",
        volume.id
    );
    assert!(ended.stderr.contains(&words), "{ended:#?}");
    assert_no_export_left(&bench).await;
    bench.appliance.detach(volume.id).await;
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_and_started_again_ends_no_export() {
    let Some(mut bench) = Bench::started().await else {
        return;
    };
    bench.appliance.create("web", MIB).await;
    let mut export = start(
        &bench,
        "daemon",
        BACKENDS[0],
        &["web", "--attach", "--detach", "--json"],
    );
    let uri = only_uri(&mut export).await;
    bench.appliance.kill().await;
    let (there, back) = (bench.path("there"), bench.path("back"));
    let bytes = noise(&there, MIB);
    run("nbdcopy", ["--flush", there.to_str().unwrap(), &uri]);
    bench.appliance.start().await;
    run("nbdcopy", [&uri, back.to_str().unwrap()]);
    assert!(
        fs::read(&back).unwrap() == bytes,
        "{uri} does not give back what was written"
    );
    let ended = stop(export, Signal::TERM).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_export_left_is_cleaned_up_by_the_next_run() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    for exporter in BACKENDS {
        let name = format!("web-{exporter}");
        let volume = bench.appliance.create(&name, 2 * MIB).await;
        let mut killed = start(&bench, "killed", exporter, &[&name, "--attach", "--json"]);
        let uri = only_uri(&mut killed).await;
        let ended = stop(killed, Signal::KILL).await;
        assert_eq!(ended.code, None);
        let (all, withdrawn) = bench.recorded_exports();
        assert_eq!(all, withdrawn + 1, "it is still recorded as live");
        assert_eq!(bench.runs().len(), 1);

        // The same volume again: its lease lapses once the server has let go of the device.
        let mut next = start(&bench, "next", exporter, &[&name, "--detach", "--json"]);
        assert_eq!(only_uri(&mut next).await, uri);
        assert!(is_served(&uri));
        assert_eq!(bench.runs().len(), 1, "the folder of the killed run is gone");
        assert_eq!(stop(next, Signal::TERM).await.code, Some(0));
        assert_no_export_left(&bench).await;
        assert_eq!(state(&bench, &volume).await, VolumeState::Available);
    }
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_cleans_up_after_a_killed_export_too() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("left", MIB).await;
    let mut killed = start(&bench, "killed", BACKENDS[0], &["left", "--attach", "--json"]);
    let uri = only_uri(&mut killed).await;
    stop(killed, Signal::KILL).await;
    assert!(is_served(&uri), "a server outlives who started it");

    let raw = bench.path("disk.raw");
    noise(&raw, MIB);
    let ended = bench.copy(&[raw.to_str().unwrap()]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(!is_served(&uri));
    assert_eq!(bench.recorded_exports(), (1, 1));
    wait_until("the dead lease to lapse", PATIENCE, async || {
        let client = bench.appliance.client();
        client.detach_and_wait(volume.id, PATIENCE).await.ok()
    })
    .await;
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_of_one_volume_do_not_meet() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    bench.appliance.create("web", MIB).await;
    let mut first = start(
        &bench,
        "first",
        BACKENDS[0],
        &["web", "--attach", "--detach", "--json"],
    );
    let uri = only_uri(&mut first).await;
    let second = start(&bench, "second", BACKENDS[0], &["web", "--json"])
        .ended()
        .await;
    failed(&second, "(volume_leased)");
    assert!(is_served(&uri), "the first one goes on");
    assert_eq!(stop(first, Signal::TERM).await.code, Some(0));
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stopped_before_it_is_published_says_so_and_leaves_nothing() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let volume = bench.appliance.create("web", MIB).await;
    let mut killed = start(&bench, "killed", BACKENDS[0], &["web", "--attach", "--json"]);
    only_uri(&mut killed).await;
    stop(killed, Signal::KILL).await;
    let mut waiting = start(&bench, "waiting", BACKENDS[0], &["web", "--json"]);
    waiting.says("waiting for the lease of").await;
    let ended = stop(waiting, Signal::INT).await;
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    assert_eq!(ended.stdout, "", "{ended:#?}");
    assert_eq!(bench.processes(), Vec::<String>::new());
    bench.assert_no_files_left();
    assert_eq!(bench.recorded_exports(), (1, 1));
    wait_until("the dead lease to lapse", PATIENCE, async || {
        let client = bench.appliance.client();
        client.detach_and_wait(volume.id, PATIENCE).await.ok()
    })
    .await;
    bench.assert_nothing_left().await;
}
