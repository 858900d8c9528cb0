//! The sending end of a feed: what was scanned is marked with the disputes that are remembered, then published.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::disputes::Disputes;
use crate::device::disk::Inventory;

/// Publishes inventories, and remembers who claimed to be the same disk.
pub struct Publisher {
    inventories: watch::Sender<Arc<Inventory>>,
    disputes: Disputes,
}

impl Publisher {
    /// Begins with the first inventory, and with the disputes of this boot that are on record.
    #[must_use]
    pub fn new(mut first: Inventory, disputed: &BTreeSet<u64>) -> Self {
        let mut disputes = Disputes::known(disputed);
        disputes.mark(&mut first);
        let inventories = watch::Sender::new(Arc::new(first));
        Self {
            inventories,
            disputes,
        }
    }

    /// Marks and publishes an inventory.
    pub fn publish(&mut self, mut inventory: Inventory) {
        self.disputes.mark(&mut inventory);
        self.inventories.send_replace(Arc::new(inventory));
    }

    /// A receiving end of it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Inventory>> {
        self.inventories.subscribe()
    }
}
