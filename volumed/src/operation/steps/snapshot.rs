//! Snapshots: taken, put back, deleted. The row is there since admission.

use async_trait::async_trait;

use crate::cloud::{CloudError, ProviderSnapshot};
use crate::model::{ErrorCode, Failure, Request, SnapshotId, SnapshotState, VolumeState};
use crate::operation::cloud_call;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::delete::require_no_device;
use crate::operation::world::provider_ref;
use crate::store::volumes::Provided;
use crate::store::{self, SnapshotRecord};

fn snapshot_id(cx: &Context) -> Result<SnapshotId, Failure> {
    match &cx.op.request {
        Request::SnapshotCreate { snapshot_id, .. }
        | Request::SnapshotRevert { snapshot_id }
        | Request::SnapshotDelete { snapshot_id } => Ok(*snapshot_id),
        other => Err(Failure::new(
            ErrorCode::Internal,
            format!("operation {} is a {}", cx.op.id, other.kind()),
        )),
    }
}

async fn record_of(cx: &Context) -> Result<SnapshotRecord, StepError> {
    let id = snapshot_id(cx)?;
    let found = cx
        .world
        .store
        .read(move |conn| store::snapshots::get(conn, id))
        .await?;
    let missing = || {
        Failure::new(
            ErrorCode::SnapshotNotFound,
            format!("snapshot {id} has no record"),
        )
    };
    Ok(found.ok_or_else(missing)?)
}

/// The snapshot as the cloud has it; found by the name that we gave it, which is its id here. A request that came twice may
/// have made a second one of that name: then it is one that is ready, and the same one each time.
async fn in_cloud(cx: &Context) -> Result<Option<ProviderSnapshot>, StepError> {
    let name = snapshot_id(cx)?.to_string();
    let of = provider_ref(&cx.volume)?;
    let found = match cx.world.cloud.snapshots(of).await {
        Ok(found) => found,
        // With the volume its snapshots are gone.
        Err(CloudError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let named = found.into_iter().filter(|snapshot| snapshot.name == name);
    Ok(named.min_by_key(|snapshot| (!snapshot.ready, snapshot.snapshot_ref.clone())))
}

/// The snapshot has a row, since admission; undone, the row is a tombstone.
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
        set(cx, SnapshotState::Deleted).await
    }
}

/// What was written to an attached device has reached the volume.
pub(super) struct Flush;

#[async_trait]
impl Step for Flush {
    fn name(&self) -> &'static str {
        "flush"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        match cx.world.pins.of(cx.volume.id) {
            None if cx.volume.state == VolumeState::InUse => {
                let text = format!(
                    "the device of volume {} is not held: what was written to it may not be in the snapshot",
                    cx.volume.id
                );
                let hint = "`volumectl correlate` binds it anew";
                Err(Failure::new(ErrorCode::DeviceUnverifiable, text)
                    .hint(hint)
                    .into())
            }
            None => Ok("not attached".into()),
            Some(pin) => cx
                .world
                .kernel
                .flush(pin)
                .await
                .map(|()| "flushed".into())
                .map_err(StepError::Failed),
        }
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// The cloud has the snapshot.
pub(super) struct CloudTake;

#[async_trait]
impl Step for CloudTake {
    fn name(&self) -> &'static str {
        "cloud_snapshot"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match in_cloud(cx).await? {
            Some(snapshot) if snapshot.ready => {
                Verdict::Done(format!("the cloud has it as {}", snapshot.snapshot_ref))
            }
            // No call of ours is under way any more when this is asked, so nobody finishes it. Where the cloud is still at work
            // on the volume, nothing is sent.
            Some(_) | None => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let (of, name) = (provider_ref(&cx.volume)?.to_owned(), snapshot_id(cx)?.to_string());
        let cloud = &cx.world.cloud;
        let taken = cloud_call::send(cx, self.name(), |call| async move {
            cloud.create_snapshot(&call, &of, &name).await
        })
        .await?;
        Ok(format!("the cloud took it as {}", taken.snapshot_ref))
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await?;
        remove(cx, "cloud_unsnapshot").await
    }
}

/// Takes away whatever the cloud has under the snapshot's name.
async fn remove(cx: &Context, step: &'static str) -> Result<(), StepError> {
    while let Some(snapshot) = in_cloud(cx).await? {
        let of = provider_ref(&cx.volume)?.to_owned();
        let cloud = &cx.world.cloud;
        cloud_call::send(cx, step, |call| async move {
            cloud.delete_snapshot(&call, &of, &snapshot.snapshot_ref).await
        })
        .await?;
    }
    Ok(())
}

/// What the cloud told of the snapshot is recorded.
pub(super) struct RecordTaken;

#[async_trait]
impl Step for RecordTaken {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match record_of(cx).await?.state {
            SnapshotState::Ready => Verdict::Done("recorded".into()),
            _ => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let taken = in_cloud(cx)
            .await?
            .filter(|snapshot| snapshot.ready)
            .ok_or_else(|| StepError::wait("the cloud to list the snapshot"))?;
        let id = snapshot_id(cx)?;
        let detail = taken.snapshot_ref.clone();
        cx.world
            .store
            .write(move |tx| store::snapshots::set_taken(tx, id, &taken.snapshot_ref, taken.size))
            .await?;
        Ok(detail)
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// The volume has the snapshot's content.
pub(super) struct CloudRevert;

#[async_trait]
impl Step for CloudRevert {
    fn name(&self) -> &'static str {
        "cloud_revert"
    }

    fn is_point_of_no_return(&self) -> bool {
        true
    }

    /// Content cannot be asked for; the call may be repeated and brings the same content again.
    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let snapshot = record_of(cx).await?;
        require_no_device(cx).await?;
        let of = provider_ref(&cx.volume)?.to_owned();
        let to = snapshot.snapshot_ref.unwrap_or_default();
        let cloud = &cx.world.cloud;
        cloud_call::send(cx, self.name(), |call| async move {
            cloud.revert_to_snapshot(&call, &of, &to).await
        })
        .await?;
        Ok(format!("put back to `{}`", snapshot.name))
    }

    /// A call that was given up may have had its effect: what the volume is now is recorded in any case.
    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await?;
        if cloud_call::was_sent(cx, self.name()).await? {
            record_as_it_is(cx).await?;
        }
        Ok(())
    }
}

/// Size and identity are recorded as the cloud now tells them, and the volume is no longer known to read as zeroes.
pub(super) struct RecordReverted;

#[async_trait]
impl Step for RecordReverted {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        record_as_it_is(cx).await
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// Records size and identity as the cloud tells them, and that content may have changed.
async fn record_as_it_is(cx: &Context) -> Result<String, StepError> {
    let now = cx.world.in_cloud(&cx.volume).await?;
    let (id, fresh_zero) = (cx.volume.id, cx.volume.fresh_zero);
    let detail = now.as_ref().map_or_else(
        || "the cloud no longer has the volume".into(),
        |v| v.size.to_string(),
    );
    cx.world
        .store
        .write(move |tx| {
            if let Some(now) = &now {
                let provided = Provided {
                    provider_ref: &now.provider_ref,
                    identity: now.identity.as_ref(),
                    size: now.size,
                    fresh_zero,
                };
                store::volumes::set_provided(tx, id, &provided)?;
            }
            store::volumes::mark_written(tx, id)
        })
        .await?;
    Ok(detail)
}

/// The snapshot is marked as being deleted.
pub(super) struct MarkDeleting;

#[async_trait]
impl Step for MarkDeleting {
    fn name(&self) -> &'static str {
        "reserve"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        set(cx, SnapshotState::Deleting).await?;
        Ok("marked".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        set(cx, SnapshotState::Ready).await
    }
}

async fn set(cx: &Context, state: SnapshotState) -> Result<(), StepError> {
    let id = snapshot_id(cx)?;
    Ok(cx
        .world
        .store
        .write(move |tx| store::snapshots::set_state(tx, id, state))
        .await?)
}

/// The cloud no longer has the snapshot.
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
        Ok(match in_cloud(cx).await? {
            None => Verdict::Done("the cloud no longer has it".into()),
            Some(_) => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        remove(cx, self.name()).await?;
        Ok("the cloud deleted it".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        cloud_call::fence(cx).await
    }
}

/// The row is a tombstone.
pub(super) struct RecordDeleted;

#[async_trait]
impl Step for RecordDeleted {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        set(cx, SnapshotState::Deleted).await?;
        Ok("recorded".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}
