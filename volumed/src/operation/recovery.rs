//! What is done at start before anything else: what other boots left is ended, devices are proven and held again, and
//! every operation that was left open goes on through the same code that would have finished it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use telemetry::trace;
use uuid::Uuid;
use volume_client::types::ConditionKind;

use super::OperationError;
use super::conditions::Conditions;
use super::executor::Executor;
use super::kernel::Kernel;
use super::lease;
use super::observer::Observer;
use super::pins::Pins;
use super::restored;
use super::service::Operations;
use super::submission::Submission;
use super::world::{Settings, World};
use crate::cloud::{Cloud, CloudError};
use crate::device::{HeldDisk, InventoryFeed, Machine};
use crate::model::{
    AttachmentState, DeviceExpectation, ErrorCode, Failure, OperationId, Request, StepState, VolumeId,
    VolumeState, diskseq_text,
};
use crate::store::{self, Asker, AuditEntry, MappingRecord, Store, StoreError, Tx};

/// What operations are made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// What the watcher publishes of the kernel.
    pub feed: InventoryFeed,
    /// The machine whose disks they are.
    pub machine: Arc<dyn Machine>,
    /// Who wants to know how operations go.
    pub observer: Arc<dyn Observer>,
    /// The rules of this installation.
    pub settings: Settings,
}

/// Why operations could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cloud did not say which VM this is.
    #[error("cannot learn from the cloud which VM this is")]
    Cloud(#[source] CloudError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database was made in another VM: two daemons would own the same volumes.
    #[error(
        "the database belongs to VM `{recorded}`, and this is VM `{found}`; if this machine is a copy, give it a \
         database of its own; if it has taken the place of the other one, `volumed restore --other-vm` takes a backup over"
    )]
    ForeignVm {
        /// The VM that the database was made in.
        recorded: String,
        /// The VM that this is.
        found: String,
    },
    /// The database was made for another provider.
    #[error("the database was made for provider `{recorded}`, not for `{found}`")]
    ForeignProvider {
        /// The provider that the database was made for.
        recorded: String,
        /// The one that is configured.
        found: &'static str,
    },
}

/// Whether recovery has finished.
#[derive(Default)]
pub(super) struct Recovery {
    finished: AtomicBool,
}

impl Recovery {
    /// That recovery has finished.
    pub(super) fn require(&self) -> Result<(), OperationError> {
        match self.finished.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(OperationError::NotReady(
                "what was left open is still being looked at".into(),
            )),
        }
    }

    pub(super) fn check(&self) -> (&'static str, bool, String) {
        match self.finished.load(Ordering::Acquire) {
            true => ("recovery", true, "finished".into()),
            false => ("recovery", false, "still running".into()),
        }
    }
}

impl Operations {
    /// Learns where it is. Nothing is changed before [`recover`](Self::recover).
    ///
    /// # Errors
    /// [`StartError`], where the database belongs to somewhere else or cloud or database do not answer.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let own_vm = parts.cloud.own_vm().await.map_err(StartError::Cloud)?;
        let provider = parts.cloud.provider();
        let (vm, fresh_id) = (
            own_vm.clone(),
            Uuid::new_v4().simple().to_string()[..8].to_owned(),
        );
        let (install_id, recorded_vm, recorded_provider) = parts
            .store
            .write(move |tx| {
                Ok::<_, StoreError>((
                    store::meta::get_or_set(tx, "install_id", &fresh_id)?,
                    store::meta::get_or_set(tx, "vm_id", &vm)?,
                    store::meta::get_or_set(tx, "provider", provider)?,
                ))
            })
            .await?;
        if recorded_vm != own_vm {
            return Err(StartError::ForeignVm {
                recorded: recorded_vm,
                found: own_vm,
            });
        }
        if recorded_provider != provider {
            return Err(StartError::ForeignProvider {
                recorded: recorded_provider,
                found: provider,
            });
        }
        let kernel = Kernel::new(parts.feed, parts.machine);
        let boot_id = kernel.inventory().boot_id.clone();
        let world = Arc::new(World {
            store: parts.store,
            cloud: parts.cloud,
            kernel,
            pins: Pins::default(),
            conditions: Conditions::default(),
            observer: parts.observer,
            settings: parts.settings,
            own_vm,
            boot_id,
            install_id,
        });
        let executor = Executor::new(Arc::clone(&world));
        Ok(Self {
            world,
            executor,
            recovery: Arc::default(),
        })
    }

    /// Ends what other boots left, holds devices again, and goes on with every open operation. Repeating it, or dying in
    /// the middle, loses nothing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let (boot_id, expiry) = (self.world.boot_id.clone(), self.world.call_expiry());
        let rebooted = self
            .world
            .store
            .write(move |tx| {
                let expires_at = tx.now().saturating_add(expiry).unwrap_or(Timestamp::MAX);
                store::calls::doubt_all_open(tx, expires_at)?;
                restored::take_over(tx, expiry)?;
                end_other_boots(tx, &boot_id)
            })
            .await?;
        self.executor.keep_disputes();
        self.hold_again().await?;
        let open = self.world.store.read(store::operations::all_open).await?;
        tracing::info!(
            open = open.len(),
            pinned = self.world.pins.count(),
            rebooted = rebooted.len(),
            "recovered"
        );
        for operation in &open {
            self.executor.take(operation.id, trace::Context::default());
        }
        self.recovery.finished.store(true, Ordering::Release);
        for volume in rebooted {
            self.attach_again(volume).await;
        }
        Ok(())
    }

    /// Proves and holds the device of every live mapping. One that cannot be proven is a condition, not a guess.
    async fn hold_again(&self) -> Result<(), StoreError> {
        for mapping in self.world.store.read(store::mappings::all_live).await? {
            let id = mapping.volume_id;
            let volume = self
                .world
                .store
                .read(move |conn| store::volumes::get(conn, id))
                .await?;
            let Some(expected) = volume.and_then(|v| v.expectation()) else {
                continue;
            };
            if let Err(failure) = repin(&self.world, &mapping, &expected).await {
                let hint = "the reconciler binds it anew where that is safe";
                self.world
                    .conditions
                    .raise(id, ConditionKind::MappingStale, failure.message, hint);
            }
        }
        Ok(())
    }

    /// Attaches a volume again that was attached before the machine was rebooted, where the cloud still has it here.
    async fn attach_again(&self, id: VolumeId) {
        let Ok(Some(volume)) = self
            .world
            .store
            .read(move |conn| store::volumes::get(conn, id))
            .await
        else {
            return;
        };
        if volume.state != VolumeState::Available {
            return;
        }
        let still_here = self.world.in_cloud(&volume).await;
        if !still_here
            .is_ok_and(|seen| seen.is_some_and(|v| v.attached_to.as_ref() == Some(&self.world.own_vm)))
        {
            return;
        }
        let submission = Submission {
            volume_id: Some(id),
            request: Request::Attach {
                vm_id: self.world.own_vm.clone(),
            },
            asker: Asker {
                actor: "recovery".into(),
                request_id: None,
            },
            key: None,
        };
        if let Err(error) = self.submit(submission).await {
            tracing::warn!(volume = %id, %error, "not attached again after the reboot");
        }
    }
}

/// Finds the device of a live mapping, proves that it is the very incarnation that was bound, and holds it.
pub(super) async fn repin(
    world: &World,
    mapping: &MappingRecord,
    expected: &DeviceExpectation,
) -> Result<Arc<dyn HeldDisk>, Failure> {
    let pin = world.kernel.reopen(expected).await?;
    let bound = &mapping.observed;
    if bound.boot_id != world.boot_id || bound.diskseq != pin.diskseq() {
        let text = format!(
            "{} is {}, not {} that volume {} was bound to",
            pin.node().display(),
            diskseq_text(pin.diskseq()),
            diskseq_text(bound.diskseq),
            mapping.volume_id
        );
        return Err(Failure::new(ErrorCode::DeviceChanged, text).hint("`volumectl correlate` binds it anew"));
    }
    world.pins.hold(mapping.volume_id, Arc::clone(&pin));
    Ok(pin)
}

/// Ends the mappings of other boots, and the attachments that they belonged to where no operation is about to. Returns
/// the volumes of the latter.
fn end_other_boots(tx: &Tx<'_>, boot_id: &str) -> Result<Vec<VolumeId>, StoreError> {
    let mut ended = Vec::new();
    for id in store::mappings::release_other_boots(tx, boot_id)? {
        // What was written before the reboot is not known any more, and who used the device is gone.
        store::volumes::mark_written(tx, id)?;
        lease::end_all(tx, id, "the machine was rebooted")?;
        if let Some(open) = store::operations::open_for(tx, id)? {
            ask_again_for_device(tx, open.id)?;
            continue;
        }
        if let Some(attachment) = store::attachments::live(tx, id)? {
            store::attachments::set_state(tx, attachment.id, AttachmentState::Detached)?;
        }
        store::volumes::forget_appearance(tx, id)?;
        store::volumes::set_state(tx, id, VolumeState::Available)?;
        store::audit::append(
            tx,
            &AuditEntry {
                actor: "recovery",
                action: "end_attachment",
                volume_id: Some(id),
                why: Some("the machine was rebooted"),
                ..AuditEntry::default()
            },
        )?;
        ended.push(id);
    }
    Ok(ended)
}

/// Opens the steps again that an operation had done to the device of the boot before: they are verified, and done anew.
fn ask_again_for_device(tx: &Tx<'_>, id: OperationId) -> Result<(), StoreError> {
    let journal = store::journal::read(tx, id)?;
    for step in ["await_device", "bind"] {
        let latest = journal.iter().rev().find(|record| record.line.step == step);
        if latest.is_some_and(|record| record.line.state == StepState::Done) {
            store::journal::append(tx, id, step, StepState::Started, Some("the machine was rebooted"))?;
        }
    }
    Ok(())
}
