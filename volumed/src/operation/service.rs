//! The door to operations: submit, cancel, ask for a verified device, take a lease.

use std::sync::Arc;

use jiff::Timestamp;

use super::admission::{Situation, admit};
use super::executor::{Executor, is_past_return};
use super::recovery::{self, Recovery};
use super::step::with_causes;
use super::world::World;
use super::{ConditionRecord, DeviceView, OperationError, VerifiedDevice, lease, steps};
use crate::cloud::Capabilities;
use crate::model::{
    AttachmentState, Bytes, ErrorCode, Failure, LeaseAccess, LeasePurpose, OperationId, Request, VolumeId,
    VolumeState,
};
use crate::store::volumes::NewRow;
use crate::store::{self, Asker, Key, KeyedResource, LeaseRecord, OperationRecord, Replay, StoreError, Tx};

/// The operations of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    pub(super) world: Arc<World>,
    pub(super) executor: Arc<Executor>,
    pub(super) recovery: Arc<Recovery>,
}

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The volume; `None` to create one.
    pub volume_id: Option<VolumeId>,
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub asker: Asker,
    /// The client's idempotency key.
    pub key: Option<Key>,
}

/// What is asked of a new lease.
#[derive(Debug, Clone)]
pub struct NewLease {
    /// The volume.
    pub volume_id: VolumeId,
    /// What for.
    pub purpose: LeasePurpose,
    /// How the device is used.
    pub access: LeaseAccess,
    /// Who holds it.
    pub holder: String,
    /// More about it.
    pub detail: Option<String>,
    /// Seconds between renewals.
    pub ttl_seconds: u32,
}

impl Operations {
    /// Admits and starts an operation. The same key and request give the same operation again, also after a crash.
    ///
    /// # Errors
    /// [`OperationError::Refused`] where a rule stands in the way, [`OperationError::NotReady`] before recovery has
    /// looked at what was left open. Nothing is recorded then.
    pub async fn submit(&self, submission: Submission) -> Result<OperationRecord, OperationError> {
        self.recovery.require()?;
        let world = Arc::clone(&self.world);
        let recorded = self
            .world
            .store
            .write(move |tx| record(tx, &world, submission))
            .await?;
        if !recorded.status.is_final() {
            self.executor.take(recorded.id);
        }
        Ok(recorded)
    }

    /// Asks that an operation be withdrawn; what it did is then undone. Repeating it changes nothing.
    ///
    /// # Errors
    /// Refused with `not_cancellable` once the operation has ended or cannot be taken back.
    pub async fn cancel(&self, id: OperationId, asker: Asker) -> Result<OperationRecord, OperationError> {
        let op = self
            .world
            .store
            .write(move |tx| record_cancel(tx, id, &asker))
            .await?;
        self.executor.cancel(id);
        Ok(op)
    }

    /// The volume's device, verified against the kernel for this very answer. From then on the volume counts as handed
    /// out.
    ///
    /// # Errors
    /// Refused with the reason where record, cloud attachment and kernel do not agree: never a guess.
    pub async fn device(&self, volume: VolumeId) -> Result<VerifiedDevice, OperationError> {
        let device = self.verified(volume).await?;
        self.world
            .store
            .write(move |tx| store::volumes::mark_handed_out(tx, volume))
            .await?;
        Ok(device)
    }

    /// As [`device`](Self::device), for looking only: nothing is handed out.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub async fn verified(&self, volume: VolumeId) -> Result<VerifiedDevice, OperationError> {
        let record = self.world.store.read(move |conn| {
            Ok((
                store::volumes::get(conn, volume)?,
                store::attachments::live(conn, volume)?,
                store::mappings::live(conn, volume)?,
            ))
        });
        let (found, attachment, mapping) = record.await?;
        let found = found
            .filter(|v| v.state != VolumeState::Deleted)
            .ok_or_else(|| no_volume(volume))?;
        if found.state != VolumeState::InUse {
            let text = format!("volume {volume} is {} and has no device to hand out", found.state);
            return Err(Failure::new(ErrorCode::NotAttached, text)
                .hint("attach it first")
                .into());
        }
        let attachment = attachment.filter(|a| a.state == AttachmentState::Attached);
        let (Some(attachment), Some(mapping), Some(expected)) = (attachment, mapping, found.expectation())
        else {
            let text = format!("volume {volume} is attached, but no device is bound to it");
            return Err(Failure::new(ErrorCode::DeviceMissing, text)
                .hint("`volumectl correlate` binds it anew")
                .into());
        };
        let pin = match self.world.pins.of(volume) {
            Some(pin) => pin,
            None => recovery::repin(&self.world, &mapping, &expected).await?,
        };
        let observed = self.world.kernel.verify(pin, &expected).await?;
        if observed.boot_id != mapping.observed.boot_id || observed.diskseq != mapping.observed.diskseq {
            let text = format!(
                "{} is diskseq {:?}, not {:?} that volume {volume} was bound to",
                observed.device_path, observed.diskseq, mapping.observed.diskseq
            );
            return Err(Failure::new(ErrorCode::DeviceChanged, text)
                .hint("`volumectl correlate` binds it anew")
                .into());
        }
        Ok(VerifiedDevice {
            volume_id: volume,
            observed,
            vm_id: attachment.vm_id,
            generation: attachment.generation,
            attached_at: attachment.attached_at.unwrap_or(mapping.bound_at),
            verified_at: Timestamp::now(),
        })
    }

    /// Takes a lease on the volume's device, which is verified for this very answer. The same key and request give the
    /// same lease again while it lives.
    ///
    /// # Errors
    /// As [`device`](Self::device); refused with `volume_leased` for a second writer.
    pub async fn acquire_lease(
        &self,
        new: NewLease,
        asker: Asker,
        key: Option<Key>,
    ) -> Result<(LeaseRecord, VerifiedDevice), OperationError> {
        self.recovery.require()?;
        let device = self.verified(new.volume_id).await?;
        if let Some(lease) = lease::replayed(&self.world, key.as_ref()).await? {
            return Ok((lease, device));
        }
        let lease = lease::take(&self.world, new, &device, asker, key).await?;
        Ok((lease, device))
    }

    /// The block devices of this machine as the kernel has them now, with the volumes that are mapped to them.
    ///
    /// # Errors
    /// Where the devices cannot be listed.
    pub async fn devices(&self) -> Result<Vec<DeviceView>, OperationError> {
        let inventory = self.world.kernel.look().await?;
        let mappings = self.world.store.read(store::mappings::all_live).await?;
        let volume_at = |boot: &str, devnum: &str, diskseq: Option<u64>| {
            let fits = |m: &&store::MappingRecord| {
                m.observed.devnum == devnum && m.observed.diskseq == diskseq && m.observed.boot_id == boot
            };
            mappings.iter().find(fits).map(|m| m.volume_id)
        };
        let view = |disk: &crate::device::Disk| DeviceView {
            device_path: disk.node.display().to_string(),
            devnum: disk.devnum.to_string(),
            size_bytes: disk.size.0,
            read_only: disk.read_only,
            identity: disk.identity.as_ref().map(ToString::to_string),
            diskseq: disk.diskseq,
            holders: disk.holders.clone(),
            volume_id: volume_at(&inventory.boot_id, &disk.devnum.to_string(), disk.diskseq),
        };
        Ok(inventory.disks.iter().map(view).collect())
    }

    /// Whether the daemon holds the volume's device open.
    #[must_use]
    pub fn is_pinned(&self, volume: VolumeId) -> bool {
        self.world.pins.of(volume).is_some()
    }

    /// How many devices are held open.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.world.pins.count()
    }

    /// What is not as it should be with this volume.
    #[must_use]
    pub fn conditions(&self, volume: VolumeId) -> Vec<ConditionRecord> {
        self.world.conditions.of(volume)
    }

    /// The VM that this daemon runs in.
    #[must_use]
    pub fn own_vm(&self) -> &str {
        &self.world.own_vm
    }

    /// The present boot.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.world.boot_id
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.world.cloud.provider()
    }

    /// Readiness of cloud, watcher and recovery: name, whether it is good, what was seen.
    pub async fn checks(&self) -> Vec<(&'static str, bool, String)> {
        let cloud = match self.world.cloud.own_vm().await {
            Ok(vm) if vm == self.world.own_vm => ("cloud", true, format!("answers; this is VM `{vm}`")),
            Ok(vm) => (
                "cloud",
                false,
                format!("says that this is VM `{vm}`, not `{}`", self.world.own_vm),
            ),
            Err(error) => ("cloud", false, with_causes(&error)),
        };
        let watcher = match self.world.kernel.look().await {
            Ok(inventory) => ("watcher", true, format!("{} disks", inventory.disks.len())),
            Err(failure) => ("watcher", false, failure.message),
        };
        vec![cloud, watcher, self.recovery.check()]
    }

    /// Starts nothing new, lets running steps reach a recorded point, and returns when all has come to rest.
    pub async fn shut_down(&self) {
        self.executor.shut_down().await;
    }
}

/// Admits what was submitted and records it, in one transaction.
fn record(tx: &Tx<'_>, world: &World, submission: Submission) -> Result<OperationRecord, OperationError> {
    let Submission {
        volume_id,
        mut request,
        asker,
        key,
    } = submission;
    if let Some(key) = &key {
        match store::idempotency::look_up(tx, key, KeyedResource::Operation)? {
            Replay::New => {}
            Replay::Other => return Err(key_reused().into()),
            Replay::Same(id) => return existing(tx, &id),
        }
    }
    let limits = world.cloud.capabilities();
    fit_size(&mut request, limits)?;
    let volume = match volume_id {
        None => new_volume(tx, world, &request)?,
        Some(id) => {
            admit(&request, &situation(tx, world, id, limits)?)?;
            id
        }
    };
    if let Request::SnapshotCreate { snapshot_id, name } = &request {
        let size = store::volumes::get(tx, volume)?.map_or(Bytes(0), |v| v.size);
        store::snapshots::insert(tx, *snapshot_id, volume, name, size)?;
    }
    let id = OperationId::new();
    store::operations::insert(tx, id, volume, &request, &asker)?;
    if let Some(key) = &key {
        store::idempotency::record(tx, key, KeyedResource::Operation, &id.to_string())?;
    }
    existing(tx, &id.to_string())
}

fn existing(tx: &Tx<'_>, id: &str) -> Result<OperationRecord, OperationError> {
    let stale = || StoreError::Stale(format!("operation {id} has no record"));
    let parsed: OperationId = id.parse().map_err(|_| stale())?;
    Ok(store::operations::get(tx, parsed)?.ok_or_else(stale)?)
}

/// Rounds a wanted size up to the provider's unit; one that the provider cannot do is refused.
fn fit_size(request: &mut Request, limits: Capabilities) -> Result<(), Failure> {
    let (Request::Create { size_bytes, .. } | Request::Resize { size_bytes }) = request else {
        return Ok(());
    };
    let wanted = Bytes(*size_bytes);
    let fitting = wanted
        .round_up_to(limits.size_unit)
        .filter(|&size| size <= limits.max_size && size.0 > 0);
    let refused = || {
        let text = format!(
            "{wanted} is not between {} and {}",
            limits.size_unit, limits.max_size
        );
        Failure::new(ErrorCode::SizeOutOfRange, text)
    };
    *size_bytes = fitting.ok_or_else(refused)?.0;
    Ok(())
}

fn new_volume(tx: &Tx<'_>, world: &World, request: &Request) -> Result<VolumeId, OperationError> {
    let Request::Create {
        name,
        size_bytes,
        source,
    } = request
    else {
        return Err(Failure::new(ErrorCode::Internal, "only a create has no volume yet").into());
    };
    if let Some(source) = source
        && let Some(taken) = store::volumes::for_source(tx, source)?
    {
        let text = format!(
            "disk `{}` of VM `{}` has volume {} already",
            source.disk, source.vm, taken.id
        );
        return Err(Failure::new(ErrorCode::SourceTaken, text)
            .hint("use that volume, or delete it first")
            .into());
    }
    let id = VolumeId::new();
    let row = NewRow {
        name,
        size: Bytes(*size_bytes),
        source: source.as_ref(),
    };
    store::volumes::insert(tx, id, world.cloud.provider(), &row)?;
    Ok(id)
}

fn situation(
    tx: &Tx<'_>,
    world: &World,
    id: VolumeId,
    limits: Capabilities,
) -> Result<Situation, OperationError> {
    let volume = store::volumes::get(tx, id)?.filter(|v| v.state != VolumeState::Deleted);
    Ok(Situation {
        volume: volume.ok_or_else(|| no_volume(id))?,
        attachment: store::attachments::live(tx, id)?,
        open: store::operations::open_for(tx, id)?.map(|op| op.id),
        leases: store::leases::live_of(tx, id)?,
        snapshots: store::snapshots::of_volume(tx, id)?,
        own_vm: world.own_vm.clone(),
        max_size: limits.max_size,
        now: tx.now(),
    })
}

fn record_cancel(tx: &Tx<'_>, id: OperationId, asker: &Asker) -> Result<OperationRecord, OperationError> {
    let missing = || {
        Failure::new(
            ErrorCode::OperationNotFound,
            format!("there is no operation {id}"),
        )
    };
    let op = store::operations::get(tx, id)?.ok_or_else(missing)?;
    let journal: Vec<_> = store::journal::read(tx, id)?
        .into_iter()
        .map(|record| record.line)
        .collect();
    if op.status.is_final() {
        let text = format!("operation {id} has ended: it is {}", op.status);
        return Err(Failure::new(ErrorCode::NotCancellable, text).into());
    }
    if op.failure.is_none() && is_past_return(steps::of(op.request.kind()), &journal) {
        let text = format!("operation {id} has passed the point where it can be taken back");
        return Err(Failure::new(ErrorCode::NotCancellable, text)
            .hint("wait for it to end")
            .into());
    }
    store::operations::request_cancel(tx, id)?;
    store::audit::append(
        tx,
        &store::AuditEntry {
            actor: &asker.actor,
            action: "cancel",
            volume_id: Some(op.volume_id),
            operation_id: Some(id),
            ..store::AuditEntry::default()
        },
    )?;
    existing(tx, &id.to_string())
}

fn no_volume(id: VolumeId) -> Failure {
    Failure::new(ErrorCode::VolumeNotFound, format!("there is no volume {id}"))
}

/// That an idempotency key was used for something else.
pub(super) fn key_reused() -> Failure {
    Failure::new(
        ErrorCode::IdempotencyKeyReused,
        "this idempotency key was used for another request",
    )
    .hint("use a new key for a new request")
}
