//! Leases: taken only on a device that was verified for that very answer, and ended only by their holder, by a person, or
//! by evidence.
//!
//! A lease that was not renewed in time still counts until the kernel shows that nobody uses the device: time alone takes
//! no decision.

use std::sync::Arc;

use super::step::StepError;
use super::world::World;
use super::{OperationError, Operations, VerifiedDevice};
use crate::model::{ErrorCode, Failure, LeaseAccess, LeaseId, VolumeId, VolumeState};
use crate::store::{
    self, Asker, AuditEntry, Key, KeyedResource, LeaseRecord, Observation, Replay, StoreError, Tx,
    VolumeRecord,
};

use super::service::NewLease;
use crate::store::mappings::NOT_COUNTED;

/// Who ends leases where no person asks for it.
pub(super) const DAEMON: &str = "volumed";

impl Operations {
    /// Ends the volume's leases that were not renewed in time, once the kernel shows that nobody uses its device. Repeating
    /// it changes nothing.
    ///
    /// # Errors
    /// Refused with `volume_leased` where a lease lives, or the device is in use.
    pub async fn end_abandoned_leases(&self, volume: VolumeId, actor: &str) -> Result<(), OperationError> {
        self.recovery.require()?;
        let found = self
            .world
            .store
            .read(move |conn| store::volumes::get(conn, volume))
            .await?;
        let found = found.ok_or_else(|| super::submission::no_volume(volume))?;
        match lapse_expired(&self.world, &found, actor).await {
            Ok(()) => Ok(()),
            Err(StepError::Store(error)) => Err(error.into()),
            Err(
                StepError::Failed(failure) | StepError::Conflict(failure) | StepError::Obstructed(failure),
            ) => Err(failure.into()),
            Err(other) => Err(OperationError::NotReady(other.to_string())),
        }
    }
}

/// Ends the volume's leases that were not renewed, where the kernel shows that nobody uses its device.
pub(super) async fn lapse_expired(
    world: &World,
    volume: &VolumeRecord,
    actor: &str,
) -> Result<(), StepError> {
    let id = volume.id;
    let leases = world
        .store
        .read(move |conn| store::leases::live_of(conn, id))
        .await?;
    let Some(lease) = leases.first() else {
        return Ok(());
    };
    let now = world.store.now();
    if let Some(standing) = leases.iter().find(|lease| !lease.expired(now)) {
        return Err(held(standing, "it was renewed in time").into());
    }
    if let Some(identity) = &volume.identity {
        let uses = world.kernel.uses(identity).await?;
        if !uses.is_empty() {
            return Err(held(
                lease,
                &format!("it has expired, but the device is in use: {}", uses.join(", ")),
            )
            .into());
        }
    }
    let actor = actor.to_owned();
    world.store.write(move |tx| lapse(tx, &leases, &actor)).await?;
    Ok(())
}

/// Before a new writer: ends what leases have lapsed. One that has not stays, and refuses the newcomer by itself.
pub(super) async fn make_way(world: &World, new: &NewLease) -> Result<(), OperationError> {
    let id = new.volume_id;
    let volume = world
        .store
        .read(move |conn| store::volumes::get(conn, id))
        .await?;
    let Some(volume) = volume.filter(|_| new.access == LeaseAccess::Write) else {
        return Ok(());
    };
    match lapse_expired(world, &volume, DAEMON).await {
        Ok(()) => Ok(()),
        Err(StepError::Store(error)) => Err(error.into()),
        Err(still_held) => {
            tracing::debug!(volume = %id, %still_held, "leases stand");
            Ok(())
        }
    }
}

fn lapse(tx: &Tx<'_>, leases: &[LeaseRecord], actor: &str) -> Result<(), StoreError> {
    for lease in leases {
        let still = store::leases::get(tx, lease.id)?.filter(|now| now.released_at.is_none());
        // Renewed meanwhile: its holder lives.
        if still.is_none_or(|now| now.expires_at != lease.expires_at) {
            continue;
        }
        let why = "not renewed in time, and nobody has the device open";
        store::leases::release(tx, lease.id, why)?;
        store::audit::append(
            tx,
            &AuditEntry {
                actor,
                action: "lease_lapsed",
                volume_id: Some(lease.volume_id),
                why: Some(why),
                before: Some(&lease.holder),
                ..AuditEntry::default()
            },
        )?;
    }
    Ok(())
}

fn held(lease: &LeaseRecord, why: &str) -> Failure {
    let text = format!(
        "{} holds lease {} on volume {}: {why}",
        lease.holder, lease.id, lease.volume_id
    );
    Failure::new(ErrorCode::VolumeLeased, text)
        .hint("end what uses it; `volumectl leases release` ends a lease whose holder is gone")
}

/// The lease that this key led to before.
pub(super) async fn replayed(
    world: &World,
    key: Option<&Key>,
) -> Result<Option<LeaseRecord>, OperationError> {
    let Some(key) = key.cloned() else { return Ok(None) };
    let replay = world
        .store
        .read(move |conn| store::idempotency::look_up(conn, &key, KeyedResource::Lease))
        .await?;
    let id = match replay {
        Replay::New => return Ok(None),
        Replay::Other => return Err(super::submission::key_reused().into()),
        Replay::Same(id) => id,
    };
    let found = match id.parse::<LeaseId>() {
        Ok(id) => world.store.read(move |conn| store::leases::get(conn, id)).await?,
        Err(_) => None,
    };
    match found.filter(|lease| lease.released_at.is_none()) {
        Some(lease) => Ok(Some(lease)),
        None => Err(Failure::new(
            ErrorCode::LeaseNotFound,
            format!("lease {id} of this idempotency key has ended"),
        )
        .hint("take a new lease, with a new key")
        .into()),
    }
}

/// Records a lease on the device that was just verified.
pub(super) async fn take(
    world: &Arc<World>,
    new: NewLease,
    device: &VerifiedDevice,
    asker: Asker,
    key: Option<Key>,
) -> Result<LeaseRecord, OperationError> {
    let observed = device.observed.clone();
    let generation = device.generation;
    world
        .store
        .admit(move |tx| {
            let volume = leasable(tx, new.volume_id, generation)?;
            still_bound(tx, volume.id, &observed)?;
            if new.access == LeaseAccess::Write {
                sole_writer(tx, &new)?;
            }
            let known_zero = is_known_zero(tx, &volume, &observed)?;
            if new.access == LeaseAccess::Write {
                store::volumes::mark_written(tx, volume.id)?;
            }
            store::volumes::mark_handed_out(tx, volume.id)?;
            let row = store::leases::NewRow {
                volume_id: new.volume_id,
                generation,
                purpose: new.purpose,
                access: new.access,
                holder: new.holder,
                detail: new.detail,
                known_zero,
                ttl_seconds: new.ttl_seconds,
            };
            let lease = store::leases::insert(tx, &row)?;
            if let Some(key) = key {
                store::idempotency::record(tx, &key, KeyedResource::Lease, &lease.id.to_string())?;
            }
            let after = format!("{} {} for {}", lease.id, lease.access, lease.holder);
            store::audit::append(
                tx,
                &AuditEntry {
                    actor: &asker.actor,
                    action: "lease_taken",
                    volume_id: Some(lease.volume_id),
                    after: Some(&after),
                    ..AuditEntry::default()
                },
            )?;
            Ok(lease)
        })
        .await
}

/// That the volume is still attached as it was when the device was verified, and nothing is about to change that.
fn leasable(tx: &Tx<'_>, id: VolumeId, generation: u64) -> Result<VolumeRecord, OperationError> {
    let volume = store::volumes::get(tx, id)?;
    let changed = || {
        Failure::new(
            ErrorCode::DeviceChanged,
            format!("volume {id} changed while its lease was taken"),
        )
    };
    let volume = volume
        .filter(|v| v.state == VolumeState::InUse && v.generation == generation)
        .ok_or_else(changed)?;
    if let Some(open) = store::operations::open_for(tx, id)? {
        let text = format!("operation {} is under way on volume {id}", open.id);
        let failure = Failure::new(ErrorCode::OperationInProgress, text).hint("wait for it to end");
        return Err(OperationError::Refused {
            failure,
            operation: Some(open.id),
        });
    }
    Ok(volume)
}

/// That the volume is still bound to the very device that was verified.
pub(super) fn still_bound(tx: &Tx<'_>, id: VolumeId, verified: &Observation) -> Result<(), OperationError> {
    let fits = |bound: &Observation| {
        (&bound.boot_id, bound.diskseq, &bound.devnum)
            == (&verified.boot_id, verified.diskseq, &verified.devnum)
    };
    let bound = store::mappings::live(tx, id)?.map(|mapping| mapping.observed);
    if bound.as_ref().is_some_and(fits) {
        return Ok(());
    }
    let text = format!("volume {id} was bound anew while its device was verified");
    Err(Failure::new(ErrorCode::DeviceChanged, text)
        .hint("ask again")
        .into())
}

/// That nobody holds a lease on the volume, for a change that ends its use; asked in the transaction that begins it.
pub(super) fn require_none(tx: &Tx<'_>, id: VolumeId) -> Result<(), OperationError> {
    match store::leases::live_of(tx, id)?.first() {
        None => Ok(()),
        Some(lease) => Err(held(lease, "it was renewed meanwhile").into()),
    }
}

/// Ends the volume's leases because the device that they were taken on is gone.
pub(super) fn end_all(tx: &Tx<'_>, id: VolumeId, why: &str) -> Result<(), StoreError> {
    for lease in store::leases::live_of(tx, id)? {
        store::leases::release(tx, lease.id, why)?;
    }
    Ok(())
}

fn sole_writer(tx: &Tx<'_>, new: &NewLease) -> Result<(), OperationError> {
    let writer = store::leases::live_of(tx, new.volume_id)?
        .into_iter()
        .find(|lease| lease.access == LeaseAccess::Write);
    match writer {
        None => Ok(()),
        Some(writer) => Err(held(&writer, "a volume has one writer at a time").into()),
    }
}

/// Whether the volume surely still reads as zeroes: the provider promised it, no writer was ever let at it, and the
/// kernel counts no write to the device since it was bound.
fn is_known_zero(tx: &Tx<'_>, volume: &VolumeRecord, observed: &Observation) -> Result<bool, StoreError> {
    let bound = store::mappings::live(tx, volume.id)?.map(|m| m.observed);
    // Without an incarnation, or without a count, an equal number proves nothing.
    let provable = observed.diskseq.is_some() && observed.written_sectors != NOT_COUNTED;
    let untouched = provable
        && bound
            .is_some_and(|b| b.diskseq == observed.diskseq && b.written_sectors == observed.written_sectors);
    Ok(volume.fresh_zero && !volume.written && untouched)
}
