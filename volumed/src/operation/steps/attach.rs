//! Attaching: reserve, call the cloud, find and prove the device, bind it.

use async_trait::async_trait;

use crate::model::{
    AttachmentState, DeviceExpectation, ErrorCode, Failure, OperationKind, VolumeState, diskseq_text,
};
use crate::operation::cloud_call;
use crate::operation::lease;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::appearance;
use crate::operation::steps::attached::{attachment_behind, found_attached_here, note_found_attached};
use crate::operation::steps::await_device::{AwaitDevice, mapped_pin, refuse_unattached};
use crate::operation::steps::detach::require_unused;
use crate::operation::steps::phantom::{require_gone, require_no_phantom};
use crate::operation::world::provider_ref;
use crate::store::{self, AuditEntry, StoreError};

/// The volume has an attachment of a new generation, not yet bound.
pub(super) struct Reserve;

#[async_trait]
impl Step for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let id = cx.volume.id;
        let live = cx
            .world
            .store
            .read(move |conn| store::attachments::live(conn, id))
            .await?;
        Ok(match live {
            Some(attachment) => Verdict::Done(format!("generation {}", attachment.generation)),
            None => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (id, vm) = (cx.volume.id, cx.world.own_vm.clone());
        let by_appearance = appearance::is_needed(cx);
        if by_appearance {
            appearance::require_allowed(cx)?;
        }
        let reserved = cx
            .world
            .store
            .write(move |tx| {
                if by_appearance && let Some(other) = appearance::other_attach(tx, id)? {
                    return Ok(Err(other));
                }
                let attachment = store::attachments::reserve(tx, id, &vm)?;
                store::volumes::set_state(tx, id, VolumeState::Attaching)?;
                Ok::<_, StoreError>(Ok(attachment))
            })
            .await?;
        let attachment = reserved.map_err(|other| {
            let text = format!("volume {other} to be attached: without serials it is one at a time");
            StepError::Obstructed(Failure::new(ErrorCode::OperationInProgress, text).hint("try again later"))
        })?;
        Ok(format!("generation {}", attachment.generation))
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        end_attachment(cx, "the attach was undone").await
    }
}

/// Ends the volume's attachment in the records: nothing is mapped, and the volume is available.
pub(super) async fn end_attachment(cx: &Context, why: &'static str) -> Result<(), StepError> {
    let id = cx.volume.id;
    cx.world
        .store
        .write(move |tx| {
            store::mappings::release(tx, id, why)?;
            if let Some(attachment) = store::attachments::live(tx, id)? {
                store::attachments::set_state(tx, attachment.id, AttachmentState::Detached)?;
            }
            store::volumes::forget_appearance(tx, id)?;
            lease::end_all(tx, id, why)?;
            store::volumes::set_state(tx, id, VolumeState::Available)
        })
        .await?;
    cx.world.pins.let_go(id);
    cx.world.conditions.clear_all(id);
    Ok(())
}

/// The cloud has the volume attached to this VM.
pub(super) struct CloudAttach;

#[async_trait]
impl Step for CloudAttach {
    fn name(&self) -> &'static str {
        "cloud_attach"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        if !found_attached_here(cx, self.name()).await? {
            return Ok(Verdict::NotDone);
        }
        note_found_attached(cx, self.name()).await?;
        Ok(Verdict::Done("the cloud has it attached here".into()))
    }

    /// Attached here already, by whomever: that is what was asked for.
    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        if found_attached_here(cx, self.name()).await? {
            note_found_attached(cx, self.name()).await?;
            return Ok("the cloud had it attached here already".into());
        }
        require_no_phantom(cx).await?;
        if appearance::is_needed(cx) {
            appearance::note_baseline(cx).await?;
        }
        let (of, vm) = (provider_ref(&cx.volume)?.to_owned(), cx.world.own_vm.clone());
        let cloud = &cx.world.cloud;
        // A device that is still going away from the attachment before is worth a moment.
        cloud_call::send(cx, self.name(), |call| async move {
            cloud.attach(&call, &of, &vm).await
        })
        .await
        .map_err(StepError::outwaiting_conflicts)?;
        Ok("the cloud attached it".into())
    }

    /// Only what this operation attached is detached again, once nobody uses it; then its device must go, or the next
    /// attach could take the one that is leaving for its own.
    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await?;
        if !cloud_call::was_sent(cx, self.name()).await? {
            return Ok(());
        }
        let seen = cx.world.in_cloud(&cx.volume).await?;
        if seen.and_then(|volume| volume.attached_to).as_ref() != Some(&cx.world.own_vm) {
            return require_gone(cx).await;
        }
        require_unused(cx).await?;
        send_detach(cx, "cloud_unattach").await?;
        require_gone(cx).await
    }
}

/// Has the cloud detach the volume from this VM, as a call of `step`.
pub(super) async fn send_detach(cx: &Context, step: &'static str) -> Result<(), StepError> {
    let (of, vm) = (provider_ref(&cx.volume)?.to_owned(), cx.world.own_vm.clone());
    let cloud = &cx.world.cloud;
    cloud_call::send(
        cx,
        step,
        |call| async move { cloud.detach(&call, &of, &vm).await },
    )
    .await
}

pub(super) fn expectation(cx: &Context) -> Result<DeviceExpectation, Failure> {
    let none = || {
        let text = format!(
            "the cloud never told what the device of volume {} will carry",
            cx.volume.id
        );
        Failure::new(ErrorCode::DeviceUnverifiable, text)
    };
    cx.volume.expectation().ok_or_else(none)
}

/// The device is bound to the volume, in one transaction.
pub(super) struct Bind;

#[async_trait]
impl Step for Bind {
    fn name(&self) -> &'static str {
        "bind"
    }

    /// From here on others are shown the device and may use it.
    fn is_point_of_no_return(&self) -> bool {
        true
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let Some(pin) = mapped_pin(cx).await? else {
            return Ok(Verdict::NotDone);
        };
        Ok(match cx.world.kernel.verify(pin, &expectation(cx)?).await {
            Ok(seen) if cx.volume.state == VolumeState::InUse => {
                Verdict::Done(format!("bound to {}", seen.device_path))
            }
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        // After a restart the pin is gone: the device is found and proven anew.
        AwaitDevice.run(cx).await?;
        let held = || StepError::wait("the device to be held again");
        let pin = cx.world.pins.of(cx.volume.id).ok_or_else(held)?;
        // The kernel shows it; that it is ours is for the cloud to say, once more.
        let Some(attachment) = attachment_behind(cx, &*pin, CloudAttach.name()).await? else {
            return Err(refuse_unattached(cx).await);
        };
        // A twin that came after the device was proven counts too: looked for anew, at the last moment.
        cx.world.kernel.look().await?;
        let observed = cx.world.kernel.verify(pin, &expectation(cx)?).await?;
        let (path, diskseq) = (observed.device_path.clone(), observed.diskseq);
        let (id, actor, operation) = (cx.volume.id, cx.op.actor.clone(), cx.op.id);
        cx.world
            .store
            .write(move |tx| {
                let mapping = store::mappings::bind(tx, id, &observed)?;
                store::attachments::set_mark(tx, id, attachment.attachment_mark.as_deref())?;
                // The operation's answer shows the path.
                store::volumes::mark_handed_out(tx, id)?;
                let after = format!(
                    "{} {}",
                    mapping.observed.device_path,
                    diskseq_text(mapping.observed.diskseq)
                );
                store::audit::append(
                    tx,
                    &AuditEntry {
                        actor: &actor,
                        action: "bind",
                        volume_id: Some(id),
                        operation_id: Some(operation),
                        after: Some(&after),
                        ..AuditEntry::default()
                    },
                )
            })
            .await?;
        let since_announced = cx.world.kernel.since_announced(diskseq);
        // A device that was here before it was asked for was not bound late.
        if cloud_call::was_accepted(cx, CloudAttach.name()).await?
            && let Some(after) = since_announced
        {
            cx.world.observer.bound(after);
        }
        cx.world.conditions.clear_all(id);
        tracing::info!(volume = %id, device = path, diskseq, "bound");
        Ok(format!("bound to {path}"))
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        // What was correlated stays attached, and a mapping that was proven when it was bound stays right.
        if cx.op.request.kind() == OperationKind::Correlate {
            return Ok(());
        }
        Ok(cx
            .world
            .store
            .write(move |tx| store::mappings::release(tx, id, "the attach was undone"))
            .await?)
    }
}
