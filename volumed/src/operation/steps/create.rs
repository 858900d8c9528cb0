//! Creating a volume: the row is there since admission; the cloud makes it, then what it told is recorded.

use async_trait::async_trait;

use crate::cloud::{NewVolume, ProviderState, ProviderVolume};
use crate::model::{ErrorCode, Failure, VolumeState};
use crate::operation::cloud_call;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::delete::require_none_of;
use crate::store::volumes::Provided;
use crate::store::{self, AuditEntry};

/// The volume has a row, since admission; undone, the row is a tombstone and its source disk is free again.
pub(super) struct Reserve;

#[async_trait]
impl Step for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::Done("recorded at admission".into()))
    }

    async fn run(&self, _cx: &Context) -> Result<String, StepError> {
        Ok("recorded at admission".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        Ok(cx
            .world
            .store
            .write(move |tx| store::volumes::set_state(tx, id, VolumeState::Deleted))
            .await?)
    }
}

/// The cloud has a volume of our name.
pub(super) struct CloudCreate;

/// The volume as the cloud has it under our name. Two of them were never made by us: a person must look. One that is still
/// being made is waited for: asking again could make a second.
async fn made(cx: &Context) -> Result<Option<ProviderVolume>, StepError> {
    let found = any_made(cx).await?;
    let settled = found.iter().find(|volume| volume.state.is_settled()).cloned();
    match (settled, found.first()) {
        (Some(volume), _) => Ok(Some(volume)),
        (None, None) => Ok(None),
        (None, Some(volume)) => match &volume.state {
            ProviderState::Unusable(why) => {
                let text = format!("the cloud made volume {} unusable: {why}", volume.provider_ref);
                Err(Failure::new(ErrorCode::CloudRefused, text).into())
            }
            state => Err(StepError::wait(format!(
                "the cloud to finish the volume ({state:?})"
            ))),
        },
    }
}

/// What the cloud has under our name, in whatever state but destroyed.
async fn any_made(cx: &Context) -> Result<Vec<ProviderVolume>, StepError> {
    let mut found = cx
        .world
        .cloud
        .volumes_named(&cx.world.cloud_name(cx.volume.id))
        .await?;
    found.retain(|volume| volume.state != ProviderState::Destroyed);
    found.sort_by(|a, b| a.provider_ref.cmp(&b.provider_ref));
    Ok(found)
}

#[async_trait]
impl Step for CloudCreate {
    fn name(&self) -> &'static str {
        "cloud_create"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match made(cx).await? {
            Some(volume) => Verdict::Done(format!("the cloud has it as {}", volume.provider_ref)),
            None => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let spec = NewVolume {
            name: cx.world.cloud_name(cx.volume.id),
            size: cx.volume.size,
        };
        let cloud = &cx.world.cloud;
        let volume = cloud_call::send(cx, self.name(), |call| async move {
            cloud.create_volume(&call, &spec).await
        })
        .await?;
        Ok(format!("the cloud made it as {}", volume.provider_ref))
    }

    /// What this operation made, and nobody was ever told of, is taken away again. Somebody may have found and attached it all
    /// the same: then it is waited for.
    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await?;
        for volume in any_made(cx).await? {
            require_untouched(cx, &volume).await?;
            let cloud = &cx.world.cloud;
            let of = volume.provider_ref;
            cloud_call::send(cx, "cloud_uncreate", |call| async move {
                cloud.delete_volume(&call, &of).await
            })
            .await?;
        }
        Ok(())
    }
}

/// That the cloud is at no work on the new volume, nobody has it attached, and no device of it is here, whatever the cloud
/// says.
async fn require_untouched(cx: &Context, volume: &ProviderVolume) -> Result<(), StepError> {
    cloud_call::require_idle(cx, Some(volume))?;
    if let Some(vm) = &volume.attached_to {
        return Err(StepError::wait(format!(
            "somebody to detach {} in the cloud: it is attached to VM `{vm}`",
            volume.provider_ref
        )));
    }
    match &volume.identity {
        Some(identity) => require_none_of(cx, identity).await,
        None => Ok(()),
    }
}

/// What the cloud told of the volume is recorded, and the volume is available.
pub(super) struct Record;

#[async_trait]
impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    /// From here on others see the volume.
    fn is_point_of_no_return(&self) -> bool {
        true
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Available => Verdict::Done("recorded".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let volume = made(cx)
            .await?
            .ok_or_else(|| StepError::wait("the cloud to list the new volume"))?;
        let (id, actor, operation) = (cx.volume.id, cx.op.actor.clone(), cx.op.id);
        let fresh_zero = cx.world.cloud.capabilities().fresh_volumes_read_zero;
        let detail = format!("{} with {}", volume.provider_ref, volume.size);
        let after = detail.clone();
        cx.world
            .store
            .write(move |tx| {
                let provided = Provided {
                    provider_ref: &volume.provider_ref,
                    identity: volume.identity.as_ref(),
                    size: volume.size,
                    fresh_zero,
                };
                store::volumes::set_provided(tx, id, &provided)?;
                store::volumes::set_state(tx, id, VolumeState::Available)?;
                store::audit::append(
                    tx,
                    &AuditEntry {
                        actor: &actor,
                        action: "create",
                        volume_id: Some(id),
                        operation_id: Some(operation),
                        after: Some(&after),
                        ..AuditEntry::default()
                    },
                )
            })
            .await?;
        Ok(detail)
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}
