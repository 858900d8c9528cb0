//! Deleting a volume: marked, deleted in the cloud, then a tombstone.

use async_trait::async_trait;

use crate::cloud::ProviderState;
use crate::model::{ErrorCode, Failure, Identity, VolumeState};
use crate::operation::cloud_call;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::store::{self, AuditEntry};

/// The volume is marked as being deleted.
pub(super) struct Reserve;

#[async_trait]
impl Step for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Deleting => Verdict::Done("marked".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let id = cx.volume.id;
        cx.world
            .store
            .write(move |tx| store::volumes::set_state(tx, id, VolumeState::Deleting))
            .await?;
        Ok("marked".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        Ok(cx
            .world
            .store
            .write(move |tx| store::volumes::set_state(tx, id, VolumeState::Available))
            .await?)
    }
}

/// The cloud no longer has the volume.
pub(super) struct CloudDelete;

#[async_trait]
impl Step for CloudDelete {
    fn name(&self) -> &'static str {
        "cloud_delete"
    }

    fn is_point_of_no_return(&self) -> bool {
        true
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let gone = cx
            .world
            .in_cloud(&cx.volume)
            .await?
            .is_none_or(|v| v.state == ProviderState::Destroyed);
        Ok(if gone {
            Verdict::Done("the cloud no longer has it".into())
        } else {
            Verdict::NotDone
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        if let Verdict::Done(seen) = self.verify(cx).await? {
            return Ok(seen);
        }
        require_no_device(cx).await?;
        let of = cx.volume.provider_ref.clone().unwrap_or_default();
        let cloud = &cx.world.cloud;
        cloud_call::send(cx, self.name(), |call| async move {
            cloud.delete_volume(&call, &of).await
        })
        .await?;
        Ok("the cloud deleted it".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await
    }
}

/// That no device of this machine carries the volume's identity, whatever the cloud says: somebody may be using it.
pub(super) async fn require_no_device(cx: &Context) -> Result<(), StepError> {
    match &cx.volume.identity {
        Some(identity) => require_none_of(cx, identity).await,
        None => Ok(()),
    }
}

/// The same of an identity that the record does not have yet.
pub(super) async fn require_none_of(cx: &Context, identity: &Identity) -> Result<(), StepError> {
    if cx.world.kernel.await_gone(cx, identity).await? {
        return Ok(());
    }
    let nodes = cx.world.kernel.carriers(identity).await?;
    // What kept us waiting may be another disk that does not settle.
    if nodes.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the device of volume {} is still here as {}, though it is recorded as detached",
        cx.volume.id,
        nodes.join(", ")
    );
    let hint = "`volumectl devices` shows it; end what holds it, or attach the volume and detach it again";
    Err(Failure::new(ErrorCode::DeviceBusy, text).hint(hint).into())
}

/// The row is a tombstone.
pub(super) struct Record;

#[async_trait]
impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Deleted => Verdict::Done("recorded".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (id, name) = (cx.volume.id, cx.volume.name.clone());
        let (actor, operation) = (cx.op.actor.clone(), cx.op.id);
        cx.world
            .store
            .write(move |tx| {
                store::volumes::set_state(tx, id, VolumeState::Deleted)?;
                store::audit::append(
                    tx,
                    &AuditEntry {
                        actor: &actor,
                        action: "delete",
                        volume_id: Some(id),
                        operation_id: Some(operation),
                        before: Some(&name),
                        ..AuditEntry::default()
                    },
                )
            })
            .await?;
        cx.world.conditions.clear_all(id);
        Ok("recorded".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}
