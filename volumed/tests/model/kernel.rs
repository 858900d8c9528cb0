//! The simulated kernel: disks that come and go, names that are dealt, and what holds them.
//!
//! A name is free once its disk is unplugged *and* nobody holds it open: lowest free first, at random after a reboot.
//! `diskseq` grows with every plug-in and begins anew with the boot.

use std::collections::BTreeSet;
use std::time::Duration;

use volumed::device::{Disk, Inventory, Publisher};
use volumed::model::{Bytes, DevNum, Identity};

use crate::world::{Chance, Due, State};

/// Whose bytes are on a disk: what the daemon must not get wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Those of the cloud's volume of this name.
    Volume(String),
    /// A stranger's.
    Foreign,
}

/// A disk, plugged in or still held after it was unplugged.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk {
    pub(crate) seq: u64,
    pub(crate) slot: usize,
    pub(crate) size: Bytes,
    pub(crate) serial: Option<String>,
    pub(crate) content: Content,
    pub(crate) plugged: bool,
    pub(crate) holds: usize,
    pub(crate) written: u64,
    /// Since when somebody has it open.
    pub(crate) opened: Option<Duration>,
    pub(crate) since: Duration,
    /// Before, its attributes cannot be read.
    settled: Duration,
}

/// The disks of the present boot.
pub(crate) struct KernelState {
    pub(crate) boot: String,
    boots: u64,
    next_seq: u64,
    pub(crate) disks: Vec<SimDisk>,
    generation: u64,
    publisher: Option<Publisher>,
}

/// A new disk.
pub(crate) struct NewDisk {
    pub(crate) size: Bytes,
    pub(crate) serial: Option<String>,
    pub(crate) content: Content,
}

pub(crate) fn node_of(slot: usize) -> String {
    let letter = char::from(b'b' + u8::try_from(slot % 24).unwrap());
    format!("/dev/vd{letter}{}", if slot < 24 { "" } else { "x" })
}

pub(crate) fn number_of(slot: usize) -> DevNum {
    let minor = u32::try_from(slot).unwrap() * 16 + 16;
    DevNum { major: 252, minor }
}

impl KernelState {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self {
            boot: format!("boot-0-{}", chance.below(1000)),
            boots: 0,
            next_seq: 1,
            disks: Vec::new(),
            generation: 0,
            publisher: None,
        }
    }

    fn deal_slot(&self) -> usize {
        let taken: BTreeSet<usize> = self.disks.iter().map(|disk| disk.slot).collect();
        (0..).find(|slot| !taken.contains(slot)).unwrap()
    }

    /// The disk of this incarnation.
    pub(crate) fn disk(&self, seq: u64) -> Option<&SimDisk> {
        self.disks.iter().find(|disk| disk.seq == seq)
    }

    pub(crate) fn disk_mut(&mut self, seq: u64) -> Option<&mut SimDisk> {
        self.disks.iter_mut().find(|disk| disk.seq == seq)
    }

    /// The disk that is plugged in and has this node.
    pub(crate) fn at_node(&self, node: &str) -> Option<&SimDisk> {
        self.plugged().find(|disk| node_of(disk.slot) == node)
    }

    pub(crate) fn plugged(&self) -> impl Iterator<Item = &SimDisk> {
        self.disks.iter().filter(|disk| disk.plugged)
    }

    /// The disk with the bytes of this volume that is plugged in here.
    pub(crate) fn of_volume(&self, name: &str) -> Option<&SimDisk> {
        self.plugged()
            .find(|disk| matches!(&disk.content, Content::Volume(of) if of == name))
    }

    /// Disks that carry this serial, whoever's they are.
    pub(crate) fn carriers(&self, serial: &str) -> impl Iterator<Item = &SimDisk> {
        let serial = serial.to_owned();
        self.plugged()
            .filter(move |disk| disk.serial.as_ref() == Some(&serial))
    }

    /// Forgets disks that are neither plugged in nor held.
    pub(crate) fn sweep(&mut self) {
        self.disks.retain(|disk| disk.plugged || disk.holds > 0);
    }

    pub(crate) fn is_settled(&self, seq: u64, now: Duration) -> bool {
        self.disk(seq).is_some_and(|disk| disk.settled <= now)
    }

    fn inventory(&self, now: Duration) -> Inventory {
        let (mut disks, mut unsettled) = (Vec::new(), Vec::new());
        for disk in self.plugged() {
            let node = node_of(disk.slot);
            let name = node.trim_start_matches("/dev/").to_owned();
            let is_settled = disk.settled <= now;
            if !is_settled {
                unsettled.push(name.clone());
            }
            disks.push(Disk {
                name,
                node: node.into(),
                devnum: number_of(disk.slot),
                diskseq: Some(disk.seq),
                size: disk.size,
                read_only: false,
                identity: disk.serial.clone().filter(|_| is_settled).map(Identity::Serial),
                holders: Vec::new(),
                partitions: Vec::new(),
            });
        }
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        Inventory {
            boot_id: self.boot.clone(),
            generation: self.generation,
            disks,
            unsettled,
            disputed: BTreeSet::new(),
        }
    }
}

impl State {
    /// A disk is plugged in; it shows after a moment, and its serial a little later.
    pub(crate) fn plug(&mut self, new: NewDisk) -> u64 {
        let now = self.elapsed();
        let settles = self.chance.millis(0, 60);
        let kernel = &mut self.kernel;
        let (seq, slot) = (kernel.next_seq, kernel.deal_slot());
        kernel.next_seq += 1;
        self.tell(format!(
            "kernel: plug {} seq {seq} {:?} {:?}",
            node_of(slot),
            new.content,
            new.serial
        ));
        self.kernel.disks.push(SimDisk {
            seq,
            slot,
            size: new.size,
            serial: new.serial,
            content: new.content,
            plugged: true,
            holds: 0,
            written: 0,
            opened: None,
            since: now,
            settled: now + settles,
        });
        self.changed();
        self.plan(settles, Due::Look);
        seq
    }

    /// The disk goes, held or not.
    pub(crate) fn unplug(&mut self, boot: &str, seq: u64) {
        if self.kernel.boot != boot {
            return;
        }
        let Some(disk) = self.kernel.disk_mut(seq).filter(|disk| disk.plugged) else {
            return;
        };
        disk.plugged = false;
        disk.opened = None;
        let node = node_of(disk.slot);
        self.tell(format!("kernel: unplug {node} seq {seq}"));
        self.kernel.sweep();
        self.changed();
    }

    /// Takes the disk with this volume's bytes away after a while.
    pub(crate) fn unplug_volume(&mut self, name: &str, after: Duration) {
        if let Some(seq) = self.kernel.of_volume(name).map(|disk| disk.seq) {
            let boot = self.kernel.boot.clone();
            match after.is_zero() {
                true => self.unplug(&boot, seq),
                false => self.plan(after, Due::Unplug(boot, seq)),
            }
        }
    }

    /// The machine boots anew: what is plugged in stays so, under names dealt at random. Forged disks are taken out while it
    /// is down: which of two plug-ins was the real one cannot be known after a boot.
    pub(crate) fn reboot(&mut self) {
        let kernel = &mut self.kernel;
        kernel.boots += 1;
        kernel.boot = format!("boot-{}-{}", kernel.boots, self.chance.below(1000));
        kernel.next_seq = 1;
        kernel
            .disks
            .retain(|disk| disk.plugged && (disk.content != Content::Foreign || disk.serial.is_none()));
        let count = kernel.disks.len() as u64;
        for turn in 0..kernel.disks.len() {
            let other = usize::try_from(self.chance.below(count)).unwrap();
            kernel.disks.swap(turn, other);
        }
        for (slot, disk) in kernel.disks.iter_mut().enumerate() {
            disk.slot = slot;
            disk.seq = kernel.next_seq;
            kernel.next_seq += 1;
            disk.holds = 0;
            disk.opened = None;
            disk.written = 0;
            disk.settled = Duration::ZERO;
        }
        self.tell("kernel: reboot".into());
    }

    /// Something happened to the disks: the watcher hears of it soon.
    pub(crate) fn changed(&mut self) {
        let lag = self.chance.millis(1, 40);
        self.plan(lag, Due::Look);
    }

    /// The watcher looks.
    pub(crate) fn look(&mut self) {
        self.kernel.generation += 1;
        let inventory = self.kernel.inventory(self.elapsed());
        if let Some(publisher) = &mut self.kernel.publisher {
            publisher.publish(inventory);
        }
    }

    /// A watcher starts, with the disputes that are on record.
    pub(crate) fn watch(&mut self, disputed: &BTreeSet<u64>) -> &Publisher {
        self.kernel.generation += 1;
        let first = self.kernel.inventory(self.elapsed());
        self.kernel.publisher.insert(Publisher::new(first, disputed))
    }

    /// The watcher dies with the daemon.
    pub(crate) fn watch_no_more(&mut self) {
        self.kernel.publisher = None;
    }

    /// A look that begins now; the generation that it exceeds.
    pub(crate) fn look_anew(&mut self) -> u64 {
        let before = self.kernel.generation;
        self.look();
        before
    }
}
