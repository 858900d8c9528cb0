//! Making a volume larger: marked, grown in the cloud, seen grown by the kernel, recorded.

use async_trait::async_trait;
use volume_client::types::ConditionKind;

use crate::model::{Bytes, DeviceExpectation, ErrorCode, Failure, Request, VolumeState};
use crate::operation::OperationError;
use crate::operation::cloud_call;
use crate::operation::lease;
use crate::operation::recovery::repin;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::world::{gone, provider_ref};
use crate::store;

fn target(cx: &Context) -> Result<Bytes, Failure> {
    match &cx.op.request {
        Request::Resize { size_bytes } => Ok(Bytes(*size_bytes)),
        other => Err(Failure::new(
            ErrorCode::Internal,
            format!("operation {} is a {}", cx.op.id, other.kind()),
        )),
    }
}

/// The volume is marked as being grown.
pub(super) struct Reserve;

#[async_trait]
impl Step for Reserve {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Extending => Verdict::Done("marked".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        lease::lapse_expired(&cx.world, &cx.volume, lease::DAEMON).await?;
        let id = cx.volume.id;
        cx.world
            .store
            .write(move |tx| {
                lease::require_none(tx, id)?;
                Ok::<_, OperationError>(store::volumes::set_state(tx, id, VolumeState::Extending)?)
            })
            .await?;
        Ok("marked".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        Ok(cx.world.store.write(move |tx| settle(tx, id)).await?)
    }
}

/// Takes the volume back to where it was: in use where it is attached, else available.
fn settle(tx: &store::Tx<'_>, id: crate::model::VolumeId) -> Result<(), store::StoreError> {
    let attached = store::attachments::live(tx, id)?.is_some();
    store::volumes::set_state(
        tx,
        id,
        if attached {
            VolumeState::InUse
        } else {
            VolumeState::Available
        },
    )
}

/// The volume has the new size in the cloud.
pub(super) struct CloudResize;

#[async_trait]
impl Step for CloudResize {
    fn name(&self) -> &'static str {
        "cloud_resize"
    }

    fn is_point_of_no_return(&self) -> bool {
        true
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let seen = cx
            .world
            .in_cloud(&cx.volume)
            .await?
            .ok_or_else(|| gone(&cx.volume))?;
        Ok(if seen.size == target(cx)? {
            Verdict::Done(seen.size.to_string())
        } else {
            Verdict::NotDone
        })
    }

    /// The size is absolute, so a repeated call grows nothing twice.
    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (of, size) = (provider_ref(&cx.volume)?.to_owned(), target(cx)?);
        let cloud = &cx.world.cloud;
        cloud_call::send(cx, self.name(), |call| async move {
            cloud.resize(&call, &of, size).await
        })
        .await?;
        Ok(size.to_string())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await
    }
}

/// An attached device has the new size in the kernel.
pub(super) struct AwaitSize;

#[async_trait]
impl Step for AwaitSize {
    fn name(&self) -> &'static str {
        "await_size"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let id = cx.volume.id;
        let mapping = cx.world.live_mapping(id).await?;
        let (Some(mapping), Some(identity)) = (mapping, cx.volume.identity.clone()) else {
            return Ok(Verdict::Done("no device is bound".into()));
        };
        let expected = DeviceExpectation {
            identity,
            size: target(cx)?,
        };
        // After a restart a device that had grown already did not fit the record, and was not held.
        let pin = match cx.world.pins.of(id) {
            Some(pin) => pin,
            None => match repin(&cx.world, &mapping, &expected).await {
                Ok(pin) => pin,
                Err(_) => return Ok(Verdict::NotDone),
            },
        };
        Ok(match cx.world.kernel.verify(pin, &expected).await {
            Ok(seen) => {
                cx.world.conditions.clear(id, ConditionKind::MappingStale);
                Verdict::Done(format!("{} has {}", seen.device_path, seen.size))
            }
            Err(_) => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        match self.verify(cx).await? {
            Verdict::Done(seen) => Ok(seen),
            Verdict::NotDone => late(cx, self.name()).await,
        }
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// The cloud has grown the volume, the kernel has not noticed. Waited for within bounds: some hypervisors never tell, and
/// then only a detach helps, which must not be kept waiting by this.
async fn late(cx: &Context, step: &'static str) -> Result<String, StepError> {
    let (id, size) = (cx.op.id, target(cx)?);
    let lines = cx
        .world
        .store
        .read(move |conn| store::journal::read(conn, id))
        .await?;
    let began = lines.iter().find(|record| record.line.step == step);
    let now = cx.world.store.now();
    let waited = began.map(|record| now.duration_since(record.at).unsigned_abs());
    if waited.is_none_or(|waited| waited < cx.world.settings.attach_timeout) {
        return Err(StepError::wait(format!("the kernel to see {size}")));
    }
    let text = format!("the cloud has grown the volume to {size}, but its device has not followed");
    let hint = "detach the volume and attach it again";
    cx.world
        .conditions
        .raise(cx.volume.id, ConditionKind::SizeMismatch, text.clone(), hint);
    Ok(text)
}

/// The new size is recorded.
pub(super) struct Record;

#[async_trait]
impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (id, size) = (cx.volume.id, target(cx)?);
        // Held again, where a restart came between; what cannot be proven is the reconciler's.
        let _seen = AwaitSize.verify(cx).await?;
        cx.world
            .store
            .write(move |tx| {
                store::volumes::set_size(tx, id, size)?;
                store::mappings::set_size(tx, id, size)?;
                settle(tx, id)
            })
            .await?;
        Ok(size.to_string())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}
