//! The end of a history: faults are off, people clean up, time is given. Then everything has ended, and all views agree or
//! a finding says why.

use std::time::Duration;

use volumed::model::{VolumeId, VolumeState};
use volumed::store;

use crate::client::{Clients, is_of, volumes};
use crate::cloud_state::OWN_VM;
use crate::daemon::Daemon;
use crate::invariants::{check, shown};
use crate::kernel::SimDisk;
use crate::world::World;

/// So long everything may take in all, in the virtual time of a history.
const AT_MOST: u32 = 120;
const ROUND: Duration = Duration::from_secs(15);

pub(crate) async fn come_to_rest(daemon: &Daemon, world: &World, clients: &mut Clients) {
    while !clients.leases.is_empty() {
        clients.release_lease(daemon, 0).await;
    }
    let mut quiet = 0;
    for _ in 0..AT_MOST {
        world.now().clean_up();
        tokio::time::sleep(ROUND).await;
        check(daemon, world, clients).await;
        let mut open = daemon.store.read(store::operations::all_open).await.unwrap();
        // What the reconciler tries again from time to time is no reason to wait.
        open.retain(|op| op.actor != "reconciler");
        quiet = if open.is_empty() { quiet + 1 } else { 0 };
        // Long enough for the reconciler's second try, and for a name that rests.
        if quiet > 4 {
            break;
        }
    }
    let mut open = daemon.store.read(store::operations::all_open).await.unwrap();
    for _ in 0..AT_MOST {
        if open.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        open = daemon.store.read(store::operations::all_open).await.unwrap();
    }
    for op in &open {
        world.now().violated(format!("did not end: {:?}", shown(op)));
    }
    if open.is_empty() {
        agree(daemon, world).await;
    }
}

async fn agree(daemon: &Daemon, world: &World) {
    let findings = daemon.reconciler.findings().await.unwrap();
    let records = volumes(daemon).await;
    let mappings = daemon.store.read(store::mappings::all_live).await.unwrap();
    let mut violations = Vec::new();
    let state = world.now();
    for record in &records {
        let id = record.id;
        let known = state
            .cloud
            .volumes
            .iter()
            .find(|(name, _)| name.ends_with(&id.to_string()));
        let disk = state.kernel.plugged().find(|disk| is_of(&disk.content, id));
        let mapping = mappings.iter().find(|mapping| mapping.volume_id == id);
        let attached = known.and_then(|(_, volume)| volume.attached.as_deref());
        let is_good = match record.state {
            VolumeState::InUse => {
                attached == Some(OWN_VM)
                    && disk.is_some_and(|disk| disk.size == record.size)
                    && mapping.and_then(|m| m.observed.diskseq) == disk.map(|disk| disk.seq)
                    && daemon.operations.is_pinned(id)
            }
            VolumeState::Available => known.is_some() && attached.is_none() && disk.is_none(),
            _ => false,
        };
        if !is_good && !findings.iter().any(|finding| finding.volume_id == Some(id)) {
            violations.push(format!(
                "the views of {record:?} do not agree, and no finding says so: cloud {known:?}, disk {disk:?}, mapping {mapping:?}"
            ));
        }
        if daemon.operations.is_pinned(id) && mapping.is_none() {
            violations.push(format!("volume {id} has a device held open that is not mapped"));
        }
    }
    for name in state.cloud.volumes.keys() {
        if !records
            .iter()
            .any(|record| name.ends_with(&record.id.to_string()))
        {
            violations.push(format!("the cloud has {name}, of which no record tells"));
        }
    }
    // The name of a disk that was pulled out rests for a while, held by nobody's pin.
    let held = |is_counted: fn(&SimDisk) -> bool| -> usize {
        let disks = state.kernel.disks.iter();
        disks.filter(|disk| is_counted(disk)).map(|disk| disk.holds).sum()
    };
    let (here, all, pins) = (
        held(|disk| disk.plugged),
        held(|_| true),
        daemon.operations.pinned(),
    );
    if pins < here || all < pins {
        violations.push(format!("{here} to {all} disks are held, {pins} pins are known"));
    }
    drop(state);
    let live: Vec<VolumeId> = records.iter().map(|record| record.id).collect();
    if let Some(lost) = mappings.iter().find(|mapping| !live.contains(&mapping.volume_id)) {
        violations.push(format!("{lost:?} is of no volume"));
    }
    for violation in violations {
        world.now().violated(violation);
    }
}
