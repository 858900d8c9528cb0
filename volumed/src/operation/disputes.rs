//! Keeps on record which plug-ins were seen beside another one with their identity: a restart must not forget it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::store;

/// Records every new dispute until `stopping`. What could not be recorded is tried again at the next change of the devices.
pub(super) async fn keep(world: Arc<World>, stopping: CancellationToken) {
    let (mut recorded, mut inventory) = (BTreeSet::new(), world.kernel.inventory());
    loop {
        let disputed = inventory.disputed.clone();
        if !disputed.is_subset(&recorded) {
            tracing::warn!(?disputed, "disks with one identity: none of them is matched anew");
            let (boot_id, row) = (inventory.boot_id.clone(), disputed.clone());
            let written = world
                .store
                .write(move |tx| store::disputes::record(tx, &boot_id, &row))
                .await;
            match written {
                Ok(()) => recorded = disputed,
                Err(error) => tracing::error!(%error, "a dispute about disks is not recorded"),
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = world.kernel.changed_since(&inventory) => inventory = changed,
        }
    }
}
