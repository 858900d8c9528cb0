//! The descriptors that the daemon holds open, one per attached volume.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::device::HeldDisk;
use crate::model::VolumeId;

/// How long the name of a disk that was pulled out stays taken.
const RETIREMENT: Duration = Duration::from_secs(60);

/// The pins that are held.
#[derive(Default)]
pub(super) struct Pins {
    held: Mutex<HashMap<VolumeId, Arc<dyn HeldDisk>>>,
}

impl Pins {
    /// Holds `pin` for the volume; an older one is let go.
    pub(super) fn hold(&self, volume: VolumeId, pin: Arc<dyn HeldDisk>) {
        let older = self.held.lock().insert(volume, pin);
        drop(older);
    }

    /// The volume's pin.
    pub(super) fn of(&self, volume: VolumeId) -> Option<Arc<dyn HeldDisk>> {
        self.held.lock().get(&volume).cloned()
    }

    /// Lets the volume's pin go. A verification under way may hold it a moment longer.
    pub(super) fn let_go(&self, volume: VolumeId) {
        let pin = self.held.lock().remove(&volume);
        drop(pin);
    }

    /// Gives up the pin of a disk that was pulled out, but lets it go only after a minute: until then whoever was shown its
    /// path gets an error there, and not the next disk. Nothing can be waiting for such a disk to go.
    pub(super) fn retire(&self, volume: VolumeId) {
        let Some(pin) = self.held.lock().remove(&volume) else {
            return;
        };
        tokio::spawn(async move {
            tokio::time::sleep(RETIREMENT).await;
            drop(pin);
        });
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.held.lock().len()
    }
}
