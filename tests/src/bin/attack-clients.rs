//! Clients that look for their volumes' devices while somebody swaps the disks under them: runs inside the appliance.
//!
//! Started with one argument, a JSON object (see [`Orders`]). Attaches and marks the volumes through the daemon, says
//! `ready` on a line of its own, and works until SIGTERM; then prints what each kind of client met, as one JSON object.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test program: its output is its result, and it fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use volume_client::client::{OpenDevice, VolumedClient};
use volume_client::types::{AttachVolume, LeaseAccess, LeasePurpose, VolumeId, VolumeState};
use whole_system_tests::{Chance, read_marker, write_marker, write_marker_at};

/// What is to be done.
#[derive(Debug, Clone, Deserialize)]
struct Orders {
    /// The daemon's socket.
    socket: PathBuf,
    /// The VM that it runs in.
    vm: String,
    /// The volumes.
    volumes: Vec<Target>,
    /// Where chance begins.
    seed: u64,
}

/// A volume, and what its disk carries.
#[derive(Debug, Clone, Deserialize)]
struct Target {
    id: VolumeId,
    serial: String,
}

/// What a kind of client met.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Met {
    right: u64,
    /// Another volume's bytes, or a stranger's.
    wrong: u64,
    /// Nothing was opened, or it was refused before anything was read or written.
    refused: u64,
    /// It was opened, and reading or writing failed, or was seen afterwards to be no more worth than that: the disk was
    /// pulled out meanwhile.
    lost: u64,
}

/// How udevd's links to a disk of this serial begin: virtio-blk, virtio-scsi.
const LINKS: [&str; 2] = [
    "/dev/disk/by-id/virtio-",
    "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_",
];

/// The blocks that writers write: after the marker, and not beyond the first MiB.
const WRITTEN_BLOCKS: u64 = 200;

struct Clients {
    orders: Orders,
    client: VolumedClient,
    met: Mutex<BTreeMap<String, Met>>,
    end: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Right,
    Wrong,
    Refused,
    Lost,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let argument = std::env::args().nth(1).expect("orders, as JSON");
    let orders: Orders = serde_json::from_str(&argument).expect("orders that make sense");
    runtime.block_on(run(orders));
}

async fn run(orders: Orders) {
    let mut asked_to_end = signal(SignalKind::terminate()).unwrap();
    let mut chance = Chance::from_seed(orders.seed);
    let clients = Arc::new(Clients {
        client: VolumedClient::unix(&orders.socket).unwrap(),
        orders,
        met: Mutex::default(),
        end: AtomicBool::new(false),
    });
    for target in &clients.orders.volumes {
        clients.mark(target).await;
    }
    println!("ready");

    let mut tasks = Vec::new();
    for n in 0..clients.orders.volumes.len() {
        let (clients, chance) = (Arc::clone(&clients), chance.branch());
        tasks.push(tokio::spawn(
            async move { clients.keep_attached(n, chance).await },
        ));
    }
    for kind in [Careful::Reader, Careful::Reader, Careful::Writer, Careful::Writer] {
        let (clients, chance) = (Arc::clone(&clients), chance.branch());
        tasks.push(tokio::spawn(async move { clients.careful(kind, chance).await }));
    }
    for gap in [0, 50, 500] {
        for by in [By::DaemonPath, By::Link, By::Name] {
            let (clients, chance) = (Arc::clone(&clients), chance.branch());
            let gap = Duration::from_millis(gap);
            tasks.push(tokio::spawn(
                async move { clients.by_path(by, gap, chance).await },
            ));
        }
    }
    asked_to_end.recv().await;
    clients.end.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no client panics");
    }
    println!("{}", serde_json::to_string(&*clients.met.lock()).unwrap());
}

/// A client that goes by the daemon's proof.
#[derive(Debug, Clone, Copy)]
enum Careful {
    Reader,
    Writer,
}

/// What a client goes by that opens a path a while after it has found it.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The path that the daemon answered, used without a lease.
    DaemonPath,
    /// `/dev/disk/by-id/virtio-…`, which udevd makes.
    Link,
    /// The name in sysfs that had the serial.
    Name,
}

impl Clients {
    fn ended(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn count(&self, who: &str, outcome: Outcome) {
        let mut met = self.met.lock();
        let counts = met.entry(who.to_owned()).or_default();
        *match outcome {
            Outcome::Right => &mut counts.right,
            Outcome::Wrong => &mut counts.wrong,
            Outcome::Refused => &mut counts.refused,
            Outcome::Lost => &mut counts.lost,
        } += 1;
    }

    fn pick(&self, chance: &mut Chance) -> &Target {
        let volumes = &self.orders.volumes;
        let n = chance.below(volumes.len() as u64);
        &volumes[usize::try_from(n).expect("there are not so many")]
    }

    async fn mark(&self, target: &Target) {
        let vm_id = self.orders.vm.clone();
        let patience = Duration::from_secs(120);
        self.client
            .attach_and_wait(target.id, &AttachVolume { vm_id }, patience)
            .await
            .expect("attaching a volume");
        let open = OpenDevice::new(LeaseAccess::Write, LeasePurpose::Transfer, "marker");
        let opened = self
            .client
            .open_device(target.id, open)
            .await
            .expect("opening a device");
        write_marker(opened.file(), &target.id.to_string()).expect("marking a volume");
        opened.close().await.expect("closing a device");
    }

    /// Brings a volume back whenever it is not usable, by attaching it or by having it correlated; at times detaches it.
    async fn keep_attached(&self, n: usize, mut chance: Chance) {
        let target = &self.orders.volumes[n];
        let patience = Duration::from_secs(20);
        while !self.ended() {
            tokio::time::sleep(Duration::from_millis(200 + chance.below(800))).await;
            let usable = self.client.volume_device(target.id).await.is_ok();
            let Ok(volume) = self.client.volume(target.id).await else {
                continue;
            };
            let vm_id = self.orders.vm.clone();
            let who = match volume.state {
                VolumeState::Available => {
                    let attach = AttachVolume { vm_id };
                    let attached = self.client.attach_and_wait(target.id, &attach, patience).await;
                    ("attach", attached.is_ok())
                }
                VolumeState::InUse if !usable => {
                    let correlated = self.client.correlate_and_wait(target.id, patience).await;
                    self.count(
                        "correlate",
                        if correlated.is_ok() {
                            Outcome::Right
                        } else {
                            Outcome::Refused
                        },
                    );
                    if correlated.is_ok() {
                        continue;
                    }
                    // Then its disk has to be plugged in anew.
                    let detached = self.client.detach_and_wait(target.id, patience).await;
                    ("detach", detached.is_ok())
                }
                VolumeState::InUse if chance.below(8) == 0 => {
                    let detached = self.client.detach_and_wait(target.id, patience).await;
                    ("detach", detached.is_ok())
                }
                _ => continue,
            };
            let outcome = if who.1 { Outcome::Right } else { Outcome::Refused };
            self.count(who.0, outcome);
        }
    }

    async fn careful(&self, kind: Careful, mut chance: Chance) {
        while !self.ended() {
            let target = self.pick(&mut chance);
            let (who, access, purpose) = match kind {
                Careful::Reader => ("reader", LeaseAccess::Read, LeasePurpose::Inspection),
                Careful::Writer => ("writer", LeaseAccess::Write, LeasePurpose::Transfer),
            };
            match self
                .client
                .open_device(target.id, OpenDevice::new(access, purpose, who))
                .await
            {
                Ok(opened) => {
                    // Long enough for the disk to be swapped under the open descriptor at times.
                    tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
                    let outcome = match kind {
                        Careful::Reader => judge(opened.file(), target),
                        Careful::Writer => write(opened.file(), target, chance.below(WRITTEN_BLOCKS)),
                    };
                    // What was read counts only if the device is still proven to be the volume's.
                    let outcome = match (outcome, opened.confirm().await) {
                        (Outcome::Wrong | Outcome::Right, Err(_)) => Outcome::Lost,
                        (outcome, _) => outcome,
                    };
                    if matches!(outcome, Outcome::Wrong) {
                        let found = read_marker(opened.file());
                        println!(
                            "WRONG: {who} for {}: {found:?} on {:?}",
                            target.id,
                            opened.device()
                        );
                    }
                    self.count(who, outcome);
                    let _closed = opened.close().await;
                }
                Err(_) => self.count(who, Outcome::Refused),
            }
            // The guest is emulated: who asks without a pause keeps it from letting the disks go.
            tokio::time::sleep(Duration::from_millis(50 + chance.below(200))).await;
        }
    }

    async fn by_path(&self, by: By, gap: Duration, mut chance: Chance) {
        let who = match by {
            By::DaemonPath => "daemon_path",
            By::Link => "by_id",
            By::Name => "sysfs_name",
        };
        let who = format!("{who}_{}ms", gap.as_millis());
        while !self.ended() {
            let target = self.pick(&mut chance);
            let path = match by {
                By::DaemonPath => self
                    .client
                    .volume_device(target.id)
                    .await
                    .ok()
                    .map(|d| d.device_path.into()),
                By::Link => LINKS
                    .iter()
                    .find_map(|link| std::fs::canonicalize(format!("{link}{}", target.serial)).ok()),
                By::Name => name_of(&target.serial),
            };
            if let Some(path) = path {
                tokio::time::sleep(gap).await;
                let outcome = match File::open(&path) {
                    Ok(file) => judge(&file, target),
                    Err(_) => Outcome::Refused,
                };
                self.count(&who, outcome);
            }
            tokio::time::sleep(Duration::from_millis(50 + chance.below(200))).await;
        }
    }
}

/// Reads whose disk it is: from the disk, not from what was read of it before.
fn judge(file: &File, target: &Target) -> Outcome {
    if rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).is_err() {
        return Outcome::Lost;
    }
    match read_marker(file) {
        Ok(Some(owner)) if owner == target.id.to_string() => Outcome::Right,
        Ok(Some(_)) => Outcome::Wrong,
        Ok(None) | Err(_) => Outcome::Lost,
    }
}

/// Writes whose disk it should be; whether it landed there is seen in the images, from outside.
fn write(file: &File, target: &Target, block: u64) -> Outcome {
    match write_marker_at(file, &target.id.to_string(), 1 + block) {
        Ok(()) => Outcome::Right,
        Err(_) => Outcome::Lost,
    }
}

/// The node of the disk whose serial in sysfs is this one.
fn name_of(serial: &str) -> Option<PathBuf> {
    let disks = std::fs::read_dir("/sys/block").ok()?;
    let has = |dir: &Path| {
        let found = std::fs::read(dir.join("serial")).or_else(|_| {
            std::fs::read(dir.join("device/vpd_pg80")).map(|page| page.into_iter().skip(4).collect())
        });
        found.is_ok_and(|found| String::from_utf8_lossy(&found).trim() == serial)
    };
    let mut found = disks.flatten().map(|entry| entry.path()).filter(|dir| has(dir));
    let name = found.next()?;
    Some(Path::new("/dev").join(name.file_name()?))
}
