//! The same cloud with loop devices of this machine behind it: names, late unplugs, growth, and nothing left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use volumed::device::{IdentitySource, KernelIdentities, NotReady};
use volumed::model::{DevNum, Identity};
use whole_system_tests::cloudstack::{CloudStackServer, Setup};
use whole_system_tests::{
    Disk, Hypervisor, HypervisorError, LoopHypervisor, Unplug, is_root, loops_within, run, wait_until,
};

use crate::cloud::{Cloud, SOON, assert_refused};

const MIB: u64 = 1 << 20;

/// A directory for images, and a hypervisor.
struct Bench {
    hypervisor: LoopHypervisor,
    _leftovers: Leftovers,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(unplug: Unplug) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let leftovers = Leftovers(dir.path().to_owned());
        Self {
            hypervisor: LoopHypervisor::new(unplug),
            _leftovers: leftovers,
            dir,
        }
    }

    fn disk(&self, name: &str, serial: &str) -> Disk {
        let image = self.dir.path().canonicalize().unwrap().join(name);
        File::create(&image).unwrap().set_len(MIB).unwrap();
        Disk {
            serial: serial.to_owned(),
            image,
        }
    }

    /// Drops the hypervisor, and puts one without disks in its place.
    fn stop(&mut self) {
        self.hypervisor = LoopHypervisor::new(Unplug::Awaited);
    }

    fn devices(&self) -> usize {
        loops_within(self.dir.path()).len()
    }
}

/// Takes away the loop devices over files in a directory: what a hypervisor should have cleared, and what a test bound.
struct Leftovers(PathBuf);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for node in loops_within(&self.0) {
            // One that goes by itself is as good.
            let _ = Command::new("losetup").args(["-d", &node]).output();
        }
    }
}

fn sectors(node: &str) -> u64 {
    let name = node.strip_prefix("/dev/").unwrap();
    fs::read_to_string(format!("/sys/block/{name}/size"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// What the daemon takes for the identity of a device.
fn identity(node: &str, loop_serials: bool) -> Result<Option<Identity>, NotReady> {
    let name = node.strip_prefix("/dev/").unwrap();
    let sysfs = Path::new("/sys/block").join(name);
    let number = fs::read_to_string(sysfs.join("dev")).unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    let number = DevNum {
        major: major.parse().unwrap(),
        minor: minor.parse().unwrap(),
    };
    KernelIdentities { loop_serials }.identity(&sysfs, name, Path::new(node), number)
}

#[tokio::test]
async fn a_disk_is_a_loop_device_with_its_serial_as_name() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(Unplug::Awaited);
    let (a, twin) = (
        bench.disk("a", "8e6a7c2e9b1d4b579d0e"),
        bench.disk("b", "8e6a7c2e9b1d4b579d0e"),
    );
    bench.hypervisor.plug(&a).await.unwrap();
    let node = bench.hypervisor.node(&a).unwrap();
    assert_eq!(loops_within(bench.dir.path()), std::slice::from_ref(&node));
    assert_eq!(
        (sectors(&node), run("blockdev", ["--getss", &node])),
        (MIB / 512, "512".to_owned())
    );
    assert_eq!(
        identity(&node, true),
        Ok(Some(Identity::Serial("8e6a7c2e9b1d4b579d0e".to_owned())))
    );
    assert!(
        matches!(identity(&node, false), Ok(Some(Identity::LoopBacking { .. }))),
        "only where it is asked for"
    );
    assert!(
        matches!(bench.hypervisor.plug(&a).await, Err(HypervisorError::Refused(_))),
        "the same image twice"
    );
    bench.hypervisor.plug(&twin).await.unwrap();
    assert_eq!(
        bench.hypervisor.plugged().await,
        [a.clone(), twin.clone()],
        "the same serial twice"
    );
    bench.hypervisor.unplug(&a, SOON).await.unwrap();
    assert_eq!(
        bench.hypervisor.unplug(&a, SOON).await,
        Err(HypervisorError::NotPlugged)
    );
    assert_eq!(bench.hypervisor.grown(&a).await, Err(HypervisorError::NotPlugged));
    File::options()
        .write(true)
        .open(&twin.image)
        .unwrap()
        .set_len(2 * MIB)
        .unwrap();
    bench.hypervisor.grown(&twin).await.unwrap();
    assert_eq!(sectors(&bench.hypervisor.node(&twin).unwrap()), 2 * MIB / 512);
    bench.stop();
    assert_eq!(
        loops_within(bench.dir.path()),
        [""; 0],
        "a dropped hypervisor leaves nothing"
    );
}

#[tokio::test]
async fn a_device_that_is_held_open_goes_late() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(Unplug::Awaited);
    let disk = bench.disk("a", "s");
    bench.hypervisor.plug(&disk).await.unwrap();
    let held = File::open(bench.hypervisor.node(&disk).unwrap()).unwrap();
    let patience = Duration::from_millis(50);
    assert_eq!(
        bench.hypervisor.unplug(&disk, patience).await,
        Err(HypervisorError::TimedOut(patience))
    );
    assert_eq!(bench.hypervisor.plugged().await, std::slice::from_ref(&disk));
    assert!(matches!(
        bench.hypervisor.plug(&disk).await,
        Err(HypervisorError::Refused(_))
    ));
    drop(held);
    wait_until("the device to go", SOON, async || {
        (bench.devices() == 0).then_some(())
    })
    .await;
    assert_eq!(bench.hypervisor.plugged().await, []);
    bench.hypervisor.plug(&disk).await.unwrap();
}

#[tokio::test]
async fn a_lazy_unplug_leaves_the_last_opener_to_the_kernel() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(Unplug::Lazy);
    let disk = bench.disk("a", "s");
    bench.hypervisor.plug(&disk).await.unwrap();
    let held = File::open(bench.hypervisor.node(&disk).unwrap()).unwrap();
    bench.hypervisor.unplug(&disk, SOON).await.unwrap();
    assert_eq!(
        (bench.hypervisor.plugged().await, bench.devices()),
        (vec![], 1),
        "unplugged, and held open"
    );
    let too_early = tokio::time::timeout(Duration::from_millis(100), bench.hypervisor.plug(&disk)).await;
    assert!(too_early.is_err(), "it waits for the old device: {too_early:?}");
    drop(held);
    bench.hypervisor.plug(&disk).await.unwrap();
    assert_eq!(bench.devices(), 1);
}

#[tokio::test]
async fn devices_of_others_are_left_alone() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new(Unplug::Awaited);
    let disk = bench.disk("a", "s");
    bench.hypervisor.plug(&disk).await.unwrap();
    let node = bench.hypervisor.node(&disk).unwrap();
    // Somebody takes our device away and binds a file of their own, perhaps to the same number.
    run("losetup", ["-d", &node]);
    wait_until("the device to go", SOON, async || {
        (bench.devices() == 0).then_some(())
    })
    .await;
    let theirs = bench.disk("theirs", "t").image;
    let taken = run("losetup", [Path::new("-f"), Path::new("--show"), &theirs]);
    assert_eq!(
        bench.hypervisor.unplug(&disk, SOON).await,
        Err(HypervisorError::NotPlugged)
    );
    bench.stop();
    let left = loops_within(bench.dir.path());
    run("losetup", ["-d", &taken]);
    assert_eq!(left, [taken], "another's device was cleared");
}

#[tokio::test]
async fn a_volume_goes_through_its_life_on_a_loop_device() {
    if !is_root() {
        return;
    }
    let storage = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(storage.path().to_owned());
    let hypervisor = Arc::new(LoopHypervisor::new(Unplug::Awaited));
    let place = storage.path().to_owned();
    let cloud = Cloud::with(|setup| {
        setup.hypervisor = hypervisor.clone();
        setup.storage = Some(place);
    })
    .await;
    let id = cloud.created_and_attached("a").await;
    let disk = cloud.server.disk(id).unwrap();
    let node = hypervisor.node(&disk).unwrap();
    assert_eq!(sectors(&node), (1 << 30) / 512);
    cloud
        .user
        .run("resizeVolume", &[("id", &id.to_string()), ("size", "2")])
        .await
        .unwrap();
    assert_eq!(sectors(&node), (2 << 30) / 512, "the guest was told");

    let held = File::open(&node).unwrap();
    assert_refused(cloud.detach(id).await, 530, "Could not detach volume");
    assert!(cloud.is_attached(id));
    drop(held);
    wait_until("the late unplug", SOON, async || {
        (!cloud.is_plugged(id).await).then_some(())
    })
    .await;
    cloud.detach(id).await.unwrap();
    assert_eq!(
        cloud
            .user
            .call("deleteVolume", &[("id", &id.to_string())])
            .await
            .unwrap(),
        json!({"success": true})
    );
    assert_eq!(loops_within(storage.path()), [""; 0]);
}

#[tokio::test]
async fn a_server_that_stops_leaves_no_device_and_no_file() {
    if !is_root() {
        return;
    }
    let server = CloudStackServer::start(Setup::on(Arc::new(LoopHypervisor::new(Unplug::Awaited)))).await;
    let disk = server
        .stranger()
        .plug_foreign(server.vm_id(), "s", MIB)
        .await
        .unwrap();
    let dir = disk.image.parent().unwrap().to_owned();
    let _leftovers = Leftovers(dir.clone());
    assert_eq!(loops_within(&dir).len(), 1);
    drop(server);
    wait_until("the device to go", SOON, async || {
        loops_within(&dir).is_empty().then_some(())
    })
    .await;
    assert!(!dir.exists());
}
