//! What the cloud says of a volume's attachment, and how far that is believed.

use std::time::Duration;

use crate::model::{ErrorCode, Failure};
use crate::operation::cloud_call;
use crate::operation::step::{Context, StepError};
use crate::operation::world::gone;
use crate::store;

/// So long after a reading of the cloud it is worth reading again.
const A_MOMENT: Duration = Duration::from_millis(500);

/// What the cloud says of the volume's attachment. While it is at work on the volume it says nothing that lasts: a detach
/// under way looks like an attached volume.
pub(super) async fn attached_here(cx: &Context) -> Result<bool, StepError> {
    let seen = cx
        .world
        .in_cloud(&cx.volume)
        .await?
        .ok_or_else(|| gone(&cx.volume))?;
    if seen.attached_to.as_ref().is_none_or(|vm| *vm == cx.world.own_vm) {
        cloud_call::require_idle(cx, Some(&seen))?;
    }
    match seen.attached_to {
        None => Ok(false),
        Some(vm) if vm == cx.world.own_vm => Ok(true),
        Some(vm) => {
            let text = format!("volume {} is attached to VM `{vm}` in the cloud", cx.volume.id);
            let hint = "detach it there; it is never taken from another VM";
            Err(Failure::new(ErrorCode::AttachedElsewhere, text).hint(hint).into())
        }
    }
}

/// What the cloud says of the volume's attachment where it may be another's doing. A list can be a moment old, and what was
/// attached before then shows still: unless the cloud itself said that this operation attached it, it is read again.
pub(super) async fn found_attached_here(cx: &Context, step: &'static str) -> Result<bool, StepError> {
    if !attached_here(cx).await? {
        return Ok(false);
    }
    if cloud_call::was_accepted(cx, step).await? {
        return Ok(true);
    }
    tokio::select! {
        () = cx.interrupted.cancelled() => return Err(StepError::Interrupted),
        () = tokio::time::sleep(A_MOMENT) => {}
    }
    attached_here(cx).await
}

/// Notes that the volume was found attached. Unless the cloud itself said that this operation did it, somebody else may
/// have, and written to it: then it is no longer known to read as zeroes.
pub(super) async fn note_found_attached(cx: &Context, step: &'static str) -> Result<(), StepError> {
    if cloud_call::was_accepted(cx, step).await? {
        return Ok(());
    }
    let id = cx.volume.id;
    let noted = cx
        .world
        .store
        .write(move |tx| store::volumes::mark_written(tx, id));
    Ok(noted.await?)
}
