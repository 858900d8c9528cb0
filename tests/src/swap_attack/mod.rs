//! The wrong-disk attack: pairs of volumes' disks change places again and again while clients in the guest look for theirs.
//!
//! ```text
//! host:   swapper ── QMP ──► disks of A and B pulled out and plugged in, each in the other's slot
//! guest:  udevd healthy | frozen | slow | dead | its links forged | a twin of A's serial
//!         attack-clients: attach, resolve, read and write through the daemon; beside them readers by path
//! end:    every image is searched for bytes that do not belong to its volume
//! ```
//!
//! A machine is used for so many swaps and then replaced: QEMU 7.2 itself dies now and then of hot-unplug under load. What
//! happened on a machine that died counts as inconclusive, never as passed.

mod disturbance;
mod figures;
mod images;
mod swapper;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;
use volume_client::types::VolumeId;

pub use figures::{Figures, Met};

use crate::virtual_machine::{DiskBus, GuestProcess, MachineError, MachineSetup};
use crate::{Chance, SOCKET, VirtualSite, wait_until};
use disturbance::Disturbance;
use swapper::Swapper;

const GIB: u64 = 1 << 30;

/// How many pairs of disks a machine has; all of them change places at the same time.
const PAIRS: u64 = 3;

/// How long a guest under attack may take to come to a point that must be reached.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// How many swaps, all machines together.
    pub swaps: u64,
    /// With what chance begins.
    pub seed: u64,
    /// How many swaps a machine goes through before it is replaced.
    pub per_machine: u64,
    /// Whether a SCSI disk's address may be given to the next disk before the guest has noticed that it is free.
    pub hasty: bool,
    /// How many in a hundred machines have their disks on virtio-scsi; the others on virtio-blk.
    pub scsi_share: u64,
}

impl Default for Attack {
    fn default() -> Self {
        Self {
            swaps: 200,
            seed: 1,
            per_machine: 100,
            hasty: false,
            scsi_share: 25,
        }
    }
}

/// One of the two volumes, as everybody names it.
#[derive(Debug, Clone)]
struct Target {
    id: VolumeId,
    cloud_id: Uuid,
    disk: crate::Disk,
}

/// Attacks until all swaps are done, or too many machines have died. `progress` is told after each machine. `None`, loudly, where no machine can boot.
///
/// # Panics
/// Where a machine fails in a way that is not the emulator's own death.
pub async fn attack(attack: Attack, mut progress: impl FnMut(&Figures)) -> Option<Figures> {
    let (mut all, mut chance) = (Figures::default(), Chance::from_seed(attack.seed));
    // An emulator that dies all the time is not worth waiting for.
    let most_deaths = 3 + attack.swaps / 100;
    while all.swaps < attack.swaps && all.inconclusive_machines <= most_deaths {
        let left = attack.swaps - all.swaps;
        let bus = match chance.below(100) < attack.scsi_share {
            true => DiskBus::VirtioScsi,
            false => DiskBus::VirtioBlk,
        };
        let setup = MachineSetup {
            bus,
            processors: 2,
            reuses_scsi_addresses: attack.hasty,
            ..MachineSetup::default()
        };
        let mut one = Figures::default();
        let swaps = left.min(attack.per_machine);
        match round(setup, swaps, &mut chance, &mut one).await {
            Ok(Some(())) => all.add(&one),
            Ok(None) => return None,
            Err(error) if error.is_inconclusive() => {
                eprintln!("a machine died after {} swaps: {error}", one.swaps);
                all.inconclusive_machines += 1;
                all.inconclusive_swaps += one.swaps;
            }
            Err(error) => panic!("{error}"),
        }
        progress(&all);
    }
    Some(all)
}

/// One machine's share of the swaps.
async fn round(
    setup: MachineSetup,
    swaps: u64,
    chance: &mut Chance,
    figures: &mut Figures,
) -> Result<Option<()>, MachineError> {
    let Some(site) = VirtualSite::boot(setup).await? else {
        return Ok(None);
    };
    site.start_daemon("").await?;
    let mut targets = Vec::new();
    for pair in 0..PAIRS {
        let (one, other) = (format!("{pair}-a"), format!("{pair}-b"));
        targets.push([target(&site, &one).await?, target(&site, &other).await?]);
    }
    let clients = begin(&site, &targets, chance).await?;
    let mut swapper = Swapper::new(&site, &targets);
    for kind in Disturbance::ALL {
        let share = share_of(swaps, kind);
        let disturbed = kind.begin(&site, &targets).await?;
        for _ in 0..share.div_ceil(PAIRS) {
            swapper.swap(chance).await?;
            kind.again(&site, &targets).await?;
            figures.swaps += PAIRS;
            *figures.by_disturbance.entry(kind.name().to_owned()).or_default() += PAIRS;
            tokio::time::sleep(pause(chance)).await;
        }
        disturbed.end(&site).await?;
    }
    swapper.settle().await?;
    figures.met = end(&clients).await?;
    for target in targets.iter().flatten() {
        figures.count_image(&images::search(&target.disk.image, target.id));
    }
    if figures.wrong() > 0 {
        tell(&site, &clients).await?;
    }
    figures.machines = 1;
    figures.violations = site.cloud.violations().len() as u64;
    Ok(Some(()))
}

/// The kinds share a machine's swaps; the first ones get what cannot be divided.
fn share_of(swaps: u64, kind: Disturbance) -> u64 {
    let kinds = Disturbance::ALL.len() as u64;
    let place = Disturbance::ALL.iter().position(|one| *one == kind).unwrap_or(0) as u64;
    swaps / kinds + u64::from(place < swaps % kinds)
}

/// Mostly too short for anybody to recover, sometimes long enough.
fn pause(chance: &mut Chance) -> Duration {
    let milliseconds = match chance.below(100) {
        0..70 => chance.below(250),
        70..94 => 500 + chance.below(700),
        _ => 3500,
    };
    Duration::from_millis(milliseconds)
}

async fn target(site: &VirtualSite, name: &str) -> Result<Target, MachineError> {
    let id = site.create(name, GIB).await?;
    let cloud_id = site.cloud_id(id).await?;
    let disk = site.cloud.disk(cloud_id).expect("it was just made");
    Ok(Target { id, cloud_id, disk })
}

/// Starts the clients in the guest, and waits until they have attached and marked the volumes.
async fn begin(
    site: &VirtualSite,
    targets: &[[Target; 2]],
    chance: &mut Chance,
) -> Result<GuestProcess, MachineError> {
    let volumes: Vec<_> = targets
        .iter()
        .flatten()
        .map(|target| json!({"id": target.id, "serial": target.disk.serial}))
        .collect();
    let orders = json!({
        "socket": SOCKET,
        "vm": site.cloud.vm_id(),
        "volumes": volumes,
        "seed": chance.below(u64::MAX),
    });
    let command = site.machine.command(&["attack-clients", &orders.to_string()]);
    let clients = command.start("/tmp/attack-clients.log").await?;
    said(&clients, |log| {
        log.lines().any(|line| line == "ready").then_some(())
    })
    .await?;
    Ok(clients)
}

/// Has the clients end, and reads what they met.
async fn end(clients: &GuestProcess) -> Result<std::collections::BTreeMap<String, Met>, MachineError> {
    clients.signal(Signal::TERM).await?;
    said(clients, |log| {
        let last = log.lines().rfind(|line| line.starts_with('{'))?;
        Some(serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}")))
    })
    .await
}

/// Shows what led to a wrong disk: what the clients said, and what the daemon did.
async fn tell(site: &VirtualSite, clients: &GuestProcess) -> Result<(), MachineError> {
    let daemon = site.machine.read_file("/var/log/volumed.log").await?;
    eprintln!(
        "the clients:\n{}\nthe daemon:\n{}",
        clients.log().await?,
        String::from_utf8_lossy(&daemon)
    );
    Ok(())
}

/// Waits until the clients have said something.
async fn said<T>(clients: &GuestProcess, read: impl Fn(&str) -> Option<T>) -> Result<T, MachineError> {
    let look = async || {
        let log = match clients.log().await {
            Ok(log) => log,
            Err(error) => return Some(Err(error)),
        };
        if let Some(found) = read(&log) {
            return Some(Ok(found));
        }
        match clients.is_running().await {
            Ok(true) => None,
            Ok(false) => panic!("the clients ended: {log}"),
            Err(error) => Some(Err(error)),
        }
    };
    wait_until("the clients in the guest", PATIENCE, look).await
}
