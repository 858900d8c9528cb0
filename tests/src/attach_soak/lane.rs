//! A lane: one caller with volumes of its own, who attaches, uses and detaches one of them, again and again.

use uuid::Uuid;
use volume_client::types::{ErrorCode, NewVolume, VolumeId};

use super::content::{BLOCK, Model};
use super::operation::{Order, Outcome};
use super::scene::Scene;
use super::using::{Blocks, MARKER};
use crate::Chance;

const GIB: u64 = 1 << 30;

/// So many volumes at most.
const MOST_VOLUMES: usize = 3;

/// The blocks that are used: those of the first MiB, so that many are met again.
const BLOCKS: u64 = 256;

/// A lane, before and while it runs.
pub(super) struct Lane<'a> {
    scene: &'a Scene<'a>,
    number: u32,
    chance: Chance,
    volumes: Vec<Owned>,
    made: u32,
}

/// A volume of a lane.
struct Owned {
    id: VolumeId,
    name: String,
    /// The size in bytes that was asked for last.
    size: u64,
    model: Model,
}

impl<'a> Lane<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, number: u32, chance: Chance) -> Self {
        Self {
            scene,
            number,
            chance,
            volumes: Vec::new(),
            made: 0,
        }
    }

    /// Does cycles until none is left; what its volumes must hold then.
    pub(super) async fn run(mut self) -> Vec<Model> {
        while self.scene.take_cycle() {
            self.cycle().await;
        }
        self.volumes.into_iter().map(|owned| owned.model).collect()
    }

    async fn cycle(&mut self) {
        // Drawn whether or not they are used: what comes later does not depend on what went wrong.
        let [renewal, growth, pick, read, write] =
            [20, 12, 1 << 20, 1 << 20, BLOCKS].map(|n| self.chance.below(n));
        let most = usize::try_from(pick).unwrap_or_default();
        if self.volumes.is_empty() || (renewal < 2 && self.volumes.len() < MOST_VOLUMES) {
            self.create().await;
        } else if renewal == 2 && self.volumes.len() > 1 {
            self.delete(most % self.volumes.len()).await;
        }
        if self.volumes.is_empty() {
            return;
        }
        let at = most % self.volumes.len();
        if growth == 0 {
            self.grow(at).await;
        }
        if self.attach(at).await {
            let written: Vec<u64> = self.volumes[at].model.written().collect();
            let read = match written.len() as u64 {
                0 => read % BLOCKS,
                many if read % 4 > 0 => written[usize::try_from(read / 4 % many).unwrap_or_default()],
                _ => read % BLOCKS,
            };
            let blocks = Blocks {
                read,
                write: write.max(MARKER + 1),
            };
            let owned = &mut self.volumes[at];
            self.scene.make_use(owned.id, &mut owned.model, blocks).await;
            if growth == 1 {
                self.grow(at).await;
            }
        }
        let detach = Order::Detach(self.volumes[at].id);
        self.scene.carry_out(detach).await;
    }

    /// Attaches a volume; whether it is.
    async fn attach(&mut self, at: usize) -> bool {
        let owned = &self.volumes[at];
        let outcome = self.scene.carry_out(Order::Attach(owned.id)).await;
        if matches!(outcome, Outcome::Failed(ErrorCode::SizeMismatch)) {
            self.restore_size(owned.model.volume);
        }
        matches!(
            outcome,
            Outcome::Completed(_) | Outcome::Failed(ErrorCode::AlreadyAttached)
        )
    }

    /// What the storage's administrator does once the daemon has refused a disk for its size.
    fn restore_size(&self, volume: Uuid) {
        let (Some(disk), Some(volume)) = (self.scene.cloud.disk(volume), self.scene.cloud.volume(volume))
        else {
            return;
        };
        let file = std::fs::OpenOptions::new().write(true).open(disk.image).unwrap();
        file.set_len(volume.size).unwrap();
    }

    async fn create(&mut self) {
        self.made += 1;
        let name = format!("lane-{}-{}", self.number, self.made);
        let new = NewVolume {
            name: name.clone(),
            size_bytes: GIB,
            source: None,
        };
        let Outcome::Completed(operation) = self.scene.carry_out(Order::Create(new)).await else {
            return;
        };
        let id = operation.volume_id;
        let Some(volume) = self.scene.cloud_id(id).await else {
            return self
                .scene
                .tally
                .violated(format!("volume {id} was created and has no id in the cloud"));
        };
        self.scene.volumes.lock().insert(id, volume);
        self.volumes.push(Owned {
            id,
            name,
            size: GIB,
            model: Model::of(volume),
        });
    }

    async fn delete(&mut self, at: usize) {
        let owned = &self.volumes[at];
        let outcome = self
            .scene
            .carry_out(Order::Delete(owned.id, owned.name.clone()))
            .await;
        // Asked again after a death of the daemon, it may be done already.
        let is_gone = matches!(
            outcome,
            Outcome::Completed(_) | Outcome::Failed(ErrorCode::VolumeNotFound)
        );
        if is_gone {
            let owned = self.volumes.remove(at);
            self.scene.volumes.lock().remove(&owned.id);
        }
    }

    /// Makes a volume a GiB larger; the same size again where that failed before.
    async fn grow(&mut self, at: usize) {
        let owned = &mut self.volumes[at];
        let order = Order::Resize(owned.id, owned.size + GIB);
        if let Outcome::Completed(_) = self.scene.carry_out(order).await {
            owned.size += GIB;
        }
    }
}

// What is written must lie within the smallest volume.
const _: () = assert!(BLOCKS * BLOCK as u64 <= GIB);
