//! The whole of it in the virtual appliance: real virtio disks plugged by the cloud, the real daemon, real NBD from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use volume_client::types::{Finding, FindingKind, Volume, VolumeId, VolumeState};
use whole_system_tests::virtual_machine::{DiskBus, GuestProcess, MachineSetup, NBD_PORT, PluggableDisk};
use whole_system_tests::{
    Chance, Hypervisor, NBD_CERTIFICATES, SOCKET, VirtualSite, nbd_certificates, run, wait_until,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Where the guest has the certificates of its exports.
const PKI: &str = "/etc/migrate-engine/nbd";
/// How much is transferred into each volume.
const TRANSFERRED: u64 = 8 * MIB;
/// How long a guest under emulation may take for what it does by itself.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long exports may take: for each, nbd-server is replaced, and searches a prime before it answers.
const EXPORTS: Duration = Duration::from_secs(600);

/// Bytes of chance in a file, to be transferred.
fn source(dir: &Path, name: &str) -> std::path::PathBuf {
    let mut bytes = vec![0; usize::try_from(TRANSFERRED).unwrap()];
    File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The digest of what the guest reads from the beginning of a device.
async fn digest_in_guest(site: &VirtualSite, device: &str) -> String {
    let script = format!(
        "dd if={device} bs=1M count={} iflag=direct 2>/dev/null | sha256sum",
        TRANSFERRED / MIB
    );
    let said = site.machine.run(&["sh", "-c", &script]).await.unwrap();
    said.split_whitespace().next().unwrap().to_owned()
}

fn digest_of(file: &Path) -> String {
    let said = run("sha256sum", [file.to_str().unwrap()]);
    said.split_whitespace().next().unwrap().to_owned()
}

/// Publishes the volumes in the guest over TLS, for as long as the process runs; the certificates are in `pki`.
async fn exported(
    site: &VirtualSite,
    pki: &Path,
    volumes: &[VolumeId],
    exporter: &str,
) -> (GuestProcess, String) {
    for name in NBD_CERTIFICATES {
        let content = std::fs::read(pki.join(name)).unwrap();
        let path = format!("{PKI}/{name}");
        site.machine.write_secret(&path, content).await.unwrap();
    }
    let log = "/tmp/export.log";
    let ids: Vec<String> = volumes.iter().map(ToString::to_string).collect();
    let mut argv = vec![
        "migrate-engine",
        "export",
        "--json",
        "--volumed-socket",
        SOCKET,
        "--exporter",
        exporter,
    ];
    argv.extend(["--nbd-listen", "0.0.0.0:10809", "--nbd-tls-certificates", PKI]);
    argv.extend(ids.iter().map(String::as_str));
    let process = site.machine.command(&argv).start(log).await.unwrap();
    wait_until("the exports", EXPORTS, async || {
        let said = process.log().await.unwrap();
        let published = said.lines().filter(|line| line.starts_with('{')).count();
        assert!(process.is_running().await.unwrap(), "{said}");
        (published == volumes.len()).then_some(())
    })
    .await;
    (process, log.to_owned())
}

fn uri(site: &VirtualSite, pki: &Path, id: VolumeId) -> String {
    let (address, pki) = (site.machine.forwarded(NBD_PORT), pki.display());
    format!("nbds://{address}/migration-vol-{id}?tls-certificates={pki}")
}

async fn ended(process: &GuestProcess) {
    process.signal(Signal::TERM).await.unwrap();
    wait_until("the exporter to end", PATIENCE, async || {
        (!process.is_running().await.unwrap()).then_some(())
    })
    .await;
}

async fn findings(site: &VirtualSite) -> Vec<Finding> {
    site.volumectl(&["findings"]).await.unwrap()
}

/// Create, attach, export, transfer from outside, detach, in another order attach again, reboot with the disks in other
/// slots: each volume has its own bytes all the way.
async fn from_outside_into_volumes_and_through_a_reboot(bus: DiskBus) {
    let setup = MachineSetup {
        bus,
        ..MachineSetup::default()
    };
    let Some(mut site) = VirtualSite::boot(setup).await.unwrap() else {
        return;
    };
    site.start_daemon("").await.unwrap();
    let mut volumes = Vec::new();
    for name in ["a", "b", "c"] {
        volumes.push(site.create(name, GIB).await.unwrap());
    }
    // All at once.
    let attached = futures_util::future::join_all(volumes.iter().map(|id| site.attach(*id))).await;
    let nodes: BTreeSet<String> = attached
        .into_iter()
        .map(|device| device.unwrap().device_path)
        .collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    let prefix = match bus {
        DiskBus::VirtioBlk => "/dev/vd",
        DiskBus::VirtioScsi => "/dev/sd",
    };
    assert!(nodes.iter().all(|node| node.starts_with(prefix)), "{nodes:?}");

    let sources: Vec<_> = (0..3)
        .map(|n| source(&site.machine.dir(), &format!("source-{n}")))
        .collect();
    let pki = site.machine.dir().join("pki");
    nbd_certificates(&pki);
    let (exporter, _) = exported(&site, &pki, &volumes, "nbd-server").await;
    for (id, file) in volumes.iter().zip(&sources) {
        run(
            "nbdcopy",
            ["--flush", file.to_str().unwrap(), &uri(&site, &pki, *id)],
        );
    }
    ended(&exporter).await;
    for (id, file) in volumes.iter().zip(&sources) {
        let device = site.device(*id).await.unwrap().device_path;
        assert_eq!(digest_in_guest(&site, &device).await, digest_of(file), "{device}");
    }

    // The letters that become free are used again, by others.
    for id in &volumes {
        site.detach(*id).await.unwrap();
    }
    for (id, file) in volumes.iter().zip(&sources) {
        let image = site.cloud.disk(site.cloud_id(*id).await.unwrap()).unwrap().image;
        assert_begins_alike(&image, file);
    }
    let mut letters = BTreeSet::new();
    for id in volumes.iter().rev() {
        letters.insert(site.attach(*id).await.unwrap().device_path);
    }
    assert_eq!(letters, nodes, "the same letters");

    let mut chance = Chance::seeded("slots after the reboot");
    site.machine
        .reboot_with_slots_shuffled(&mut chance)
        .await
        .unwrap();
    site.start_daemon("").await.unwrap();
    for (id, file) in volumes.iter().zip(&sources) {
        let what = format!("volume {id} to be attached again");
        wait_until(&what, PATIENCE, async || {
            let volume: Volume = site
                .volumectl(&["volumes", "show", &id.to_string()])
                .await
                .unwrap();
            (volume.state == VolumeState::InUse && volume.operation_id.is_none()).then_some(())
        })
        .await;
        let device = site.device(*id).await.unwrap().device_path;
        assert_eq!(digest_in_guest(&site, &device).await, digest_of(file), "{device}");
    }
    for id in &volumes {
        site.detach(*id).await.unwrap();
    }
    assert_eq!(site.cloud.violations(), []);
    assert_eq!(findings(&site).await, []);
}

fn assert_begins_alike(image: &Path, file: &Path) {
    let mut begin = vec![0; usize::try_from(TRANSFERRED).unwrap()];
    File::open(image).unwrap().read_exact_at(&mut begin, 0).unwrap();
    assert!(
        begin == std::fs::read(file).unwrap(),
        "{} is not what was sent",
        image.display()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_keep_their_bytes_on_virtio_blk() {
    from_outside_into_volumes_and_through_a_reboot(DiskBus::VirtioBlk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_keep_their_bytes_on_virtio_scsi() {
    from_outside_into_volumes_and_through_a_reboot(DiskBus::VirtioScsi).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_disks_at_the_same_moment_are_not_taken_for_ours() {
    let Some(site) = VirtualSite::boot(MachineSetup::default()).await.unwrap() else {
        return;
    };
    site.start_daemon("").await.unwrap();
    let id = site.create("a", GIB).await.unwrap();
    let hypervisor = site.machine.hypervisor();
    let mut strangers = Vec::new();
    for (n, serial) in [Some("0123456789abcdef0123"), None, Some("appliance")]
        .into_iter()
        .enumerate()
    {
        let image = site.machine.dir().join(format!("stranger-{n}"));
        File::create_new(&image).unwrap().set_len(GIB).unwrap();
        strangers.push(PluggableDisk {
            serial: serial.map(str::to_owned),
            image,
        });
    }
    let plugging = async {
        for disk in &strangers {
            hypervisor.plug_any(disk.clone(), None).await.unwrap();
        }
    };
    let (device, ()) = tokio::join!(site.attach(id), plugging);
    let device = device.unwrap();
    let serial = site.cloud.disk(site.cloud_id(id).await.unwrap()).unwrap().serial;
    assert_eq!(device.identity, format!("serial:{serial}"));
    let name = device.device_path.strip_prefix("/dev/").unwrap().to_owned();
    let shown = site
        .machine
        .run(&["cat", &format!("/sys/block/{name}/serial")])
        .await
        .unwrap();
    assert_eq!(shown.trim(), serial);
    wait_until(
        "the stranger with a serial like the cloud's to be shown",
        PATIENCE,
        async || {
            let found = findings(&site).await;
            let is_it = |one: &Finding| {
                one.kind == FindingKind::ForeignDevice && one.kernel.contains("0123456789abcdef0123")
            };
            found.iter().any(is_it).then_some(())
        },
    )
    .await;
    site.detach(id).await.unwrap();
    let left: BTreeSet<_> = hypervisor
        .slots()
        .into_iter()
        .map(|(_, disk)| disk.image)
        .collect();
    assert!(
        strangers.iter().all(|disk| left.contains(&disk.image)),
        "they are left alone"
    );
    assert_eq!(site.cloud.violations(), []);
}

/// The guest does not answer for a while: the detach times out at the hypervisor, and the disk goes later all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hangs_during_a_detach_is_detached_in_the_end() {
    let Some(site) = VirtualSite::boot(MachineSetup::default()).await.unwrap() else {
        return;
    };
    site.cloud
        .change(|settings| settings.detach_patience = Duration::from_secs(1));
    site.start_daemon("").await.unwrap();
    let id = site.create("a", GIB).await.unwrap();
    site.attach(id).await.unwrap();
    // Somebody detaches it in the cloud's UI while the guest stands still: the hypervisor gives up, the guest does not.
    let cloud_id = site.cloud_id(id).await.unwrap();
    site.machine.pause().await.unwrap();
    let refused = site.cloud.stranger().detach(cloud_id).await.unwrap_err();
    assert!(refused.text.contains("Could not detach"), "{refused:?}");
    site.machine.cont().await.unwrap();
    site.detach(id).await.unwrap();
    assert!(site.cloud.stranger().plugged(site.cloud.vm_id()).await.is_empty());
    let again = site.attach(id).await.unwrap();
    assert_eq!(again.size_bytes, GIB);
    site.detach(id).await.unwrap();
    assert_eq!(site.cloud.violations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vm_is_known_by_its_firmware_and_the_doctor_finds_nothing_to_fix() {
    let Some(site) = VirtualSite::boot(MachineSetup::default()).await.unwrap() else {
        return;
    };
    site.start_daemon("").await.unwrap();
    let status: Value = site.volumectl(&["status"]).await.unwrap();
    assert_eq!(status["vm_id"], site.cloud.vm_id().to_string());
    let id = site.create("a", GIB).await.unwrap();
    site.attach(id).await.unwrap();
    let outcome = site.try_volumectl(&["doctor"]).await.unwrap();
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check["status"] == "failed")
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for name in ["credentials", "clock", "zone", "offering", "udev", "nbd-server"] {
        let is_there = |check: &&Value| check["name"].as_str().unwrap().contains(name);
        assert!(checks.iter().any(|check| is_there(&check)), "{name}: {checks:#?}");
    }
    site.detach(id).await.unwrap();
}

/// Whoever swaps disks at the hypervisor can give a serial to any disk: only the cloud's own plugging makes it a proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_plugged_in_again_behind_the_clouds_back_is_not_bound_until_it_is_attached_anew() {
    let Some(site) = VirtualSite::boot(MachineSetup::default()).await.unwrap() else {
        return;
    };
    site.start_daemon("").await.unwrap();
    let id = site.create("a", GIB).await.unwrap();
    let before = site.attach(id).await.unwrap();
    let disk = site.cloud.disk(site.cloud_id(id).await.unwrap()).unwrap();
    let hypervisor = site.machine.hypervisor();
    hypervisor.unplug(&disk, PATIENCE).await.unwrap();
    hypervisor.plug(&disk).await.unwrap();
    let text = id.to_string();
    let refused = wait_until("the disk that came again", PATIENCE, async || {
        let outcome = site.try_volumectl(&["correlate", &text]).await.unwrap();
        assert_ne!(outcome.code, Some(0), "{outcome:?}");
        outcome.stderr.contains("pulled out").then_some(outcome)
    })
    .await;
    assert!(refused.stderr.contains("attach it again"), "{refused:?}");
    let device = site.try_volumectl(&["device", &text]).await.unwrap();
    assert_ne!(device.code, Some(0), "{device:?}");
    site.detach(id).await.unwrap();
    let after = site.attach(id).await.unwrap();
    assert!(after.diskseq > before.diskseq, "{before:?} {after:?}");
    site.detach(id).await.unwrap();
    assert_eq!(site.cloud.violations(), []);
}
