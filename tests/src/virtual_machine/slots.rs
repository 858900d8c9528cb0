//! Which disk is in which slot of the machine, and on its way in or out: bookkeeping only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use crate::Chance;

/// How many disks can be plugged in: the slots of the i440FX's PCI bus that nothing else is in.
pub const SLOTS: u8 = 26;

/// A disk as QEMU is told of it, with nothing checked: any serial, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluggableDisk {
    /// What the guest sees as the serial; virtio-blk shows the first 20 bytes of it.
    pub serial: Option<String>,
    /// The raw image behind it.
    pub image: PathBuf,
}

/// How far a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// QEMU is being told of it.
    Arriving,
    /// The guest has it.
    Plugged,
    /// The guest was asked then to let it go.
    Leaving(Instant),
}

/// A disk in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Occupant {
    pub(super) disk: PluggableDisk,
    pub(super) stage: Stage,
    /// Never used for another disk of this machine.
    pub(super) number: u64,
}

/// Why a slot was not given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SlotError {
    #[error("target {0} already exists")]
    Taken(u8),
    #[error("No more available PCI slots")]
    Full,
    #[error("the image {} is plugged in already", .0.display())]
    ImageInUse(PathBuf),
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    occupants: BTreeMap<u8, Occupant>,
    numbers: u64,
}

impl Slots {
    /// Takes `wanted`, or the first slot that is free, for a disk that arrives.
    pub(super) fn take(
        &mut self,
        disk: &PluggableDisk,
        wanted: Option<u8>,
    ) -> Result<(u8, Occupant), SlotError> {
        if self
            .occupants
            .values()
            .any(|other| other.disk.image == disk.image)
        {
            return Err(SlotError::ImageInUse(disk.image.clone()));
        }
        let slot = match wanted {
            Some(slot) if slot >= SLOTS => return Err(SlotError::Full),
            Some(slot) if self.occupants.contains_key(&slot) => return Err(SlotError::Taken(slot)),
            Some(slot) => slot,
            None => (0..SLOTS)
                .find(|slot| !self.occupants.contains_key(slot))
                .ok_or(SlotError::Full)?,
        };
        self.numbers += 1;
        let occupant = Occupant {
            disk: disk.clone(),
            stage: Stage::Arriving,
            number: self.numbers,
        };
        self.occupants.insert(slot, occupant.clone());
        Ok((slot, occupant))
    }

    /// Notes how far the disk of that number is; one that is gone stays gone.
    pub(super) fn set_stage(&mut self, number: u64, stage: Stage) {
        if let Some(occupant) = self.occupants.values_mut().find(|other| other.number == number) {
            occupant.stage = stage;
        }
    }

    /// The disk of that number is gone.
    pub(super) fn clear(&mut self, number: u64) {
        self.occupants.retain(|_, other| other.number != number);
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        self.occupants.values().any(|other| other.number == number)
    }

    pub(super) fn at(&self, slot: u8) -> Option<Occupant> {
        self.occupants.get(&slot).cloned()
    }

    pub(super) fn find(&self, wanted: impl Fn(&PluggableDisk) -> bool) -> Option<Occupant> {
        self.occupants.values().find(|other| wanted(&other.disk)).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Occupant)> {
        self.occupants.iter().map(|(slot, occupant)| (*slot, occupant))
    }

    /// A machine that starts anew has every disk that had arrived; what the guest was asked for is forgotten.
    pub(super) fn start_anew(&mut self) {
        let leaving = |other: &&mut Occupant| matches!(other.stage, Stage::Leaving(_));
        for occupant in self.occupants.values_mut().filter(leaving) {
            occupant.stage = Stage::Plugged;
        }
    }

    /// Deals all slots anew, so that two disks or more come in another order.
    pub(super) fn shuffle(&mut self, chance: &mut Chance) {
        let order = |slots: &Self| {
            slots
                .occupants
                .values()
                .map(|other| other.number)
                .collect::<Vec<_>>()
        };
        let before = order(self);
        loop {
            self.deal(chance);
            if before.len() < 2 || order(self) != before {
                return;
            }
        }
    }

    fn deal(&mut self, chance: &mut Chance) {
        let mut free: Vec<u8> = (0..SLOTS).collect();
        let mut dealt = BTreeMap::new();
        for occupant in std::mem::take(&mut self.occupants).into_values() {
            let at = chance.below(free.len() as u64);
            dealt.insert(free.swap_remove(usize::try_from(at).unwrap()), occupant);
        }
        self.occupants = dealt;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(image: &str) -> PluggableDisk {
        PluggableDisk {
            serial: None,
            image: image.into(),
        }
    }

    #[test]
    fn a_slot_and_an_image_are_given_once() {
        let mut slots = Slots::default();
        let (first, a) = slots.take(&disk("a"), None).unwrap();
        assert_eq!(first, 0);
        assert_eq!(
            slots.take(&disk("a"), None),
            Err(SlotError::ImageInUse("a".into()))
        );
        assert_eq!(slots.take(&disk("b"), Some(0)), Err(SlotError::Taken(0)));
        assert_eq!(slots.take(&disk("b"), Some(SLOTS)), Err(SlotError::Full));
        slots.clear(a.number);
        let (again, b) = slots.take(&disk("b"), Some(0)).unwrap();
        assert_eq!((again, b.number), (0, 2), "a slot is used again, a number never");
        for number in 1..SLOTS {
            slots.take(&disk(&number.to_string()), None).unwrap();
        }
        assert_eq!(slots.take(&disk("z"), None), Err(SlotError::Full));
    }

    #[test]
    fn a_late_word_about_a_disk_that_is_gone_changes_nothing() {
        let mut slots = Slots::default();
        let (slot, a) = slots.take(&disk("a"), None).unwrap();
        slots.clear(a.number);
        slots.set_stage(a.number, Stage::Plugged);
        assert_eq!(slots.at(slot), None);
    }

    #[test]
    fn shuffled_slots_hold_the_same_disks_in_another_order() {
        let images = ["0", "1", "2"];
        let mut slots = Slots::default();
        for image in images {
            slots.take(&disk(image), None).unwrap();
        }
        for _ in 0..100 {
            let order = |slots: &Slots| {
                slots
                    .iter()
                    .map(|(_, other)| other.disk.clone())
                    .collect::<Vec<_>>()
            };
            let before = order(&slots);
            slots.shuffle(&mut Chance::seeded("slots"));
            let mut after = order(&slots);
            assert_ne!(after, before);
            after.sort_by(|a, b| a.image.cmp(&b.image));
            assert_eq!(after, images.map(disk));
        }
    }
}
