//! The door to operations: submit, cancel, ask for a verified device, take a lease.

use std::sync::Arc;
use std::time::Duration;

use telemetry::trace;
use tracing::Instrument;

use super::executor::Executor;
use super::recovery::{self, Recovery};
use super::step::with_causes;
use super::submission::{self, Submission, no_volume};
use super::world::World;
use super::{ConditionRecord, DeviceView, OperationError, VerifiedDevice, lease};
use crate::crash;
use crate::model::{
    AttachmentState, ErrorCode, Failure, LeaseAccess, LeasePurpose, OperationId, VolumeId, VolumeState,
    diskseq_text, volume_of_cloud_name,
};
use crate::store::{self, Asker, Key, LeaseRecord, OperationRecord};

/// The operations of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    pub(super) world: Arc<World>,
    pub(super) executor: Arc<Executor>,
    pub(super) recovery: Arc<Recovery>,
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
        let (world, executor) = (Arc::clone(&self.world), Arc::clone(&self.executor));
        let origin = trace::Context::current();
        uninterrupted(async move {
            let (of, kind) = (Arc::clone(&world), submission.request.kind());
            crash::point(|| format!("{kind}/admission/before"));
            let recorded = world
                .store
                .admit(move |tx| submission::record(tx, &of, submission))
                .await?;
            crash::point(|| format!("{kind}/admission/after"));
            if !recorded.status.is_final() {
                tracing::info!(operation_id = %recorded.id, %kind, volume_id = %recorded.volume_id, "operation taken");
                executor.take(recorded.id, origin);
            }
            Ok(recorded)
        })
        .await
    }

    /// Tells whoever wants to know that the views were compared, and how long it took.
    pub fn note_comparison(&self, took: Duration) {
        self.world.observer.compared(took);
    }

    /// Asks that an operation be withdrawn; what it did is then undone. Repeating it changes nothing.
    ///
    /// # Errors
    /// Refused with `not_cancellable` once the operation has ended or cannot be taken back.
    pub async fn cancel(&self, id: OperationId, asker: Asker) -> Result<OperationRecord, OperationError> {
        let (store, executor) = (self.world.store.clone(), Arc::clone(&self.executor));
        uninterrupted(async move {
            let op = store
                .write(move |tx| submission::record_cancel(tx, id, &asker))
                .await?;
            executor.cancel(id);
            Ok(op)
        })
        .await
    }

    /// The volume's device, verified against the kernel for this very answer. From then on the volume counts as handed
    /// out.
    ///
    /// # Errors
    /// Refused with the reason where record, cloud attachment and kernel do not agree: never a guess.
    pub async fn device(&self, volume: VolumeId) -> Result<VerifiedDevice, OperationError> {
        let device = self.verified(volume).await?;
        let observed = device.observed.clone();
        self.world
            .store
            .write(move |tx| {
                lease::still_bound(tx, volume, &observed)?;
                Ok::<_, OperationError>(store::volumes::mark_handed_out(tx, volume)?)
            })
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
                "{} is {}, not {} that volume {volume} was bound to",
                observed.device_path,
                diskseq_text(observed.diskseq),
                diskseq_text(mapping.observed.diskseq)
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
            verified_at: self.world.store.now(),
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
        lease::make_way(&self.world, &new).await?;
        let device = match new.access {
            LeaseAccess::Read => device,
            LeaseAccess::Write => self.flushed(new.volume_id).await?,
        };
        crash::point(|| "lease/take/before".to_owned());
        let lease = lease::take(&self.world, new, &device, asker, key).await?;
        crash::point(|| "lease/take/after".to_owned());
        Ok((lease, device))
    }

    /// The volume's device, verified after everything that anybody wrote to it has left the page cache: what is only there
    /// is not in the kernel's count of writes, and our own descriptor keeps it there when its writer is gone.
    async fn flushed(&self, volume: VolumeId) -> Result<VerifiedDevice, OperationError> {
        if let Some(pin) = self.world.pins.of(volume) {
            self.world.kernel.flush(pin).await?;
        }
        self.verified(volume).await
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

    /// How many operations wait for their turn.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.executor.queue_depth()
    }

    /// What is not as it should be with this volume.
    #[must_use]
    pub fn conditions(&self, volume: VolumeId) -> Vec<ConditionRecord> {
        self.world.conditions.of(volume)
    }

    /// The volume that a name in the cloud says it is of, where that name is one that this installation gives.
    #[must_use]
    pub fn named_by_us(&self, name: &str) -> Option<VolumeId> {
        volume_of_cloud_name(&self.world.install_id, name)
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

/// Brings `work` to its end although the caller may go away: what is recorded must also be started.
async fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, OperationError>> + Send + 'static,
) -> Result<T, OperationError> {
    let stopped = |_| OperationError::NotReady("the daemon is stopping".into());
    tokio::spawn(work.in_current_span()).await.map_err(stopped)?
}
