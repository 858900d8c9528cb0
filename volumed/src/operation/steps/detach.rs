//! Detaching: stop handing out, make sure that nobody uses the device and all is written, detach in the cloud, release.
//!
//! The mapping is released before the pin is let go, and the pin before the device is awaited gone: a loop device goes only
//! when its last descriptor is closed, and a name that may be given away must belong to nobody in the records.

use std::time::Duration;

use async_trait::async_trait;
use volume_client::types::ConditionKind;

use crate::model::{AttachmentState, ErrorCode, Failure, VolumeId, VolumeState};
use crate::operation::OperationError;
use crate::operation::cloud_call;
use crate::operation::lease;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::attach::send_detach;
use crate::operation::steps::attached::pass_a_moment;
use crate::store::{self, AuditEntry, StoreError, Tx};

/// The device is no longer handed out.
pub(super) struct Reserve;

#[async_trait]
impl Step for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Detaching => Verdict::Done("no longer handed out".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        lease::lapse_expired(&cx.world, &cx.volume, lease::DAEMON).await?;
        let id = cx.volume.id;
        let begun = cx.world.store.write(move |tx| {
            lease::require_none(tx, id)?;
            Ok::<_, OperationError>(set_states(
                tx,
                id,
                VolumeState::Detaching,
                AttachmentState::Detaching,
            )?)
        });
        begun.await?;
        Ok("no longer handed out".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        let back = cx
            .world
            .store
            .write(move |tx| set_states(tx, id, VolumeState::InUse, AttachmentState::Attached));
        Ok(back.await?)
    }
}

fn set_states(
    tx: &Tx<'_>,
    id: VolumeId,
    volume: VolumeState,
    attachment: AttachmentState,
) -> Result<(), StoreError> {
    if let Some(live) = store::attachments::live(tx, id)? {
        store::attachments::set_state(tx, live.id, attachment)?;
    }
    store::volumes::set_state(tx, id, volume)
}

/// Nobody uses the device, and everything written to it has reached the volume.
pub(super) struct Quiesce;

#[async_trait]
impl Step for Quiesce {
    fn name(&self) -> &'static str {
        "quiesce"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        // A device that could not be held again after a restart may be in use all the same.
        require_unused(cx).await?;
        let Some(pin) = cx.world.pins.of(cx.volume.id) else {
            return Ok("no device is held, and nobody uses one".into());
        };
        let node = pin.node().display().to_string();
        if let Err(failure) = cx.world.kernel.flush(pin.clone()).await {
            return pulled_out(cx, &node, failure).await;
        }
        note_writes(cx, pin.devnum()).await?;
        Ok(format!("nobody uses {node}, and it is flushed"))
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// What could not be flushed because the disk was pulled out under us, as by an unplug that comes late, stands in nobody's
/// way: nothing can be written to it any more. Any other failure to flush does.
async fn pulled_out(cx: &Context, node: &str, failure: Failure) -> Result<String, StepError> {
    let Some(identity) = &cx.volume.identity else {
        return Err(failure.into());
    };
    if !cx.world.kernel.is_gone(identity).await? {
        return Err(failure.into());
    }
    tracing::warn!(volume = %cx.volume.id, node, %failure, "the device is gone before it was detached");
    let id = cx.volume.id;
    cx.world
        .store
        .write(move |tx| store::volumes::mark_written(tx, id))
        .await?;
    cx.world.pins.retire(id);
    Ok(format!("{node} is gone already: what had not reached it is lost"))
}

/// That nobody uses a device of the volume's identity.
pub(super) async fn require_unused(cx: &Context) -> Result<(), StepError> {
    let Some(identity) = &cx.volume.identity else {
        return Ok(());
    };
    let uses = cx.world.kernel.uses(identity).await?;
    if uses.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the device of volume {} is in use: {}",
        cx.volume.id,
        uses.join(", ")
    );
    let hint = "end these uses, then try again";
    Err(Failure::new(ErrorCode::DeviceBusy, text).hint(hint).into())
}

/// Where the device was written to since it was bound, the volume is no longer known to read as zeroes.
async fn note_writes(cx: &Context, devnum: crate::model::DevNum) -> Result<(), StepError> {
    let sectors = cx.world.kernel.written_sectors(devnum);
    let id = cx.volume.id;
    cx.world
        .store
        .write(move |tx| {
            let untouched =
                store::mappings::live(tx, id)?.is_some_and(|m| Some(m.observed.written_sectors) == sectors);
            if untouched {
                Ok(())
            } else {
                store::volumes::mark_written(tx, id)
            }
        })
        .await?;
    Ok(())
}

/// Whether the cloud no longer has the volume attached here. Deleted, or attached to another VM by somebody: then it is not
/// attached here, which is what was asked for.
async fn where_attached(cx: &Context) -> Result<Verdict, StepError> {
    let Some(seen) = cx.world.in_cloud(&cx.volume).await? else {
        return Ok(Verdict::Done("the cloud no longer has it".into()));
    };
    Ok(match &seen.attached_to {
        None => Verdict::Done("the cloud has it attached to nothing".into()),
        // Somebody else's detach may be under way: it is enough.
        Some(vm) if *vm == cx.world.own_vm => {
            cloud_call::require_idle(cx, Some(&seen))?;
            Verdict::NotDone
        }
        Some(vm) => Verdict::Done(format!("the cloud has it attached to VM `{vm}`, not here")),
    })
}

/// The cloud has the volume attached to nothing.
pub(super) struct CloudDetach;

#[async_trait]
impl Step for CloudDetach {
    fn name(&self) -> &'static str {
        "cloud_detach"
    }

    fn is_point_of_no_return(&self) -> bool {
        true
    }

    /// Unless the cloud itself said that it detached the volume, it is asked twice: of a list that is a moment old the records would
    /// say that the volume is detached, and the cloud for ever that it is attached.
    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let seen = where_attached(cx).await?;
        if matches!(seen, Verdict::NotDone) || cloud_call::was_accepted(cx, self.name()).await? {
            return Ok(seen);
        }
        pass_a_moment(cx).await?;
        where_attached(cx).await
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        if let Verdict::Done(seen) = self.verify(cx).await? {
            return Ok(seen);
        }
        // Since it was quiesced there may have been a restart, and hours.
        require_unused(cx).await?;
        send_detach(cx, self.name())
            .await
            .map_err(StepError::outwaiting_conflicts)?;
        Ok("the cloud detached it".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await
    }
}

/// Nothing is mapped, and the device is no longer held open.
pub(super) struct Release;

#[async_trait]
impl Step for Release {
    fn name(&self) -> &'static str {
        "release"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (id, actor, operation) = (cx.volume.id, cx.op.actor.clone(), cx.op.id);
        cx.world
            .store
            .write(move |tx| {
                let before = store::mappings::live(tx, id)?.map(|m| m.observed.device_path);
                store::mappings::release(tx, id, "detached")?;
                store::audit::append(
                    tx,
                    &AuditEntry {
                        actor: &actor,
                        action: "release",
                        volume_id: Some(id),
                        operation_id: Some(operation),
                        before: before.as_deref(),
                        ..AuditEntry::default()
                    },
                )
            })
            .await?;
        cx.world.pins.let_go(id);
        Ok("released".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// Where the cloud has the volume attached here after all, because what it said before was a moment old or somebody attached
/// it anew, it is told again.
async fn detach_again(cx: &Context) -> Result<(), StepError> {
    match CloudDetach.verify(cx).await? {
        Verdict::Done(_) => Ok(()),
        Verdict::NotDone => CloudDetach.run(cx).await.map(drop),
    }
}

/// No device of this machine carries the volume's identity any more.
pub(super) struct AwaitGone;

/// After this long a device that stays is worth a person's attention.
const PATIENCE: Duration = Duration::from_secs(30);

#[async_trait]
impl Step for AwaitGone {
    fn name(&self) -> &'static str {
        "await_gone"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let Some(identity) = &cx.volume.identity else {
            return Ok(Verdict::Done("it never had a device".into()));
        };
        Ok(match cx.world.kernel.is_gone(identity).await? {
            true => Verdict::Done("the device is gone".into()),
            false => Verdict::NotDone,
        })
    }

    /// Never given up: time raises a condition, it takes no decision.
    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let Some(identity) = &cx.volume.identity else {
            return Ok("it never had a device".into());
        };
        // Whoever asked for the device just before may have held it anew.
        cx.world.pins.let_go(cx.volume.id);
        if cx.world.kernel.await_gone(cx, identity).await? {
            cx.world
                .conditions
                .clear(cx.volume.id, ConditionKind::GhostAttached);
            return Ok("the device is gone".into());
        }
        detach_again(cx).await?;
        let waiting_for =
            "the device to go: the cloud has detached it, but the kernel still has it".to_owned();
        let now = cx.world.store.now();
        let since = now.duration_since(cx.op.updated_at).unsigned_abs();
        if since > PATIENCE {
            cx.world.conditions.raise(
                cx.volume.id,
                ConditionKind::GhostAttached,
                waiting_for.clone(),
                "find what holds the device (`lsof`, `dmsetup ls`, mounts in other namespaces) and end it",
            );
        }
        Err(StepError::wait(waiting_for))
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// The attachment has ended, and the volume is available.
pub(super) struct Finish;

#[async_trait]
impl Step for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Available => Verdict::Done("recorded".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let id = cx.volume.id;
        cx.world
            .store
            .write(move |tx| {
                if let Some(live) = store::attachments::live(tx, id)? {
                    store::attachments::set_state(tx, live.id, AttachmentState::Detached)?;
                }
                store::volumes::forget_appearance(tx, id)?;
                store::volumes::set_state(tx, id, VolumeState::Available)?;
                Ok::<_, StoreError>(())
            })
            .await?;
        cx.world.conditions.clear_all(id);
        Ok("recorded".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}
