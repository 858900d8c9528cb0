//! What the cloud says of a volume's attachment, and how far that is believed.

use std::time::Duration;

use jiff::Timestamp;

use crate::cloud::ProviderVolume;
use crate::device::HeldDisk;
use crate::model::{ErrorCode, Failure};
use crate::operation::cloud_call;
use crate::operation::step::{Context, StepError};
use crate::operation::world::gone;
use crate::store;

/// So long after a reading of the cloud it is worth reading again.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Whether the cloud has the volume attached here.
pub(super) async fn attached_here(cx: &Context) -> Result<bool, StepError> {
    Ok(attachment_here(cx).await?.is_some())
}

/// The volume as the cloud has it, where it is attached here. While the cloud is at work on the volume it says nothing that
/// lasts: a detach under way looks like an attached volume.
pub(super) async fn attachment_here(cx: &Context) -> Result<Option<ProviderVolume>, StepError> {
    let seen = cx
        .world
        .in_cloud(&cx.volume)
        .await?
        .ok_or_else(|| gone(&cx.volume))?;
    if seen.attached_to.as_ref().is_none_or(|vm| *vm == cx.world.own_vm) {
        cloud_call::require_idle(cx, Some(&seen))?;
    }
    match &seen.attached_to {
        None => Ok(None),
        Some(vm) if *vm == cx.world.own_vm => Ok(Some(seen)),
        Some(vm) => {
            let text = format!("volume {} is attached to VM `{vm}` in the cloud", cx.volume.id);
            let hint = "detach it there; it is never taken from another VM";
            Err(Failure::new(ErrorCode::AttachedElsewhere, text).hint(hint).into())
        }
    }
}

/// The volume as the cloud has it, where it is attached here; asked again where the cloud says no, for a list can be a moment old.
pub(super) async fn still_attached_here(cx: &Context) -> Result<Option<ProviderVolume>, StepError> {
    if let Some(seen) = attachment_here(cx).await? {
        return Ok(Some(seen));
    }
    pass_a_moment(cx).await?;
    attachment_here(cx).await
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
    pass_a_moment(cx).await?;
    attached_here(cx).await
}

/// The volume as the cloud has it, where it is attached here and `pin` may be what was attached. A device that came with
/// this operation's own attach is believed at once. Any other may be a twin, come while the volume's own disk has just been
/// detached by somebody else, and the list is a moment old or their detach not yet written down: the cloud is read again.
pub(super) async fn attachment_behind(
    cx: &Context,
    pin: &dyn HeldDisk,
    step: &'static str,
) -> Result<Option<ProviderVolume>, StepError> {
    let attachment = attachment_here(cx).await?;
    if attachment.is_none() || came_with_our_call(cx, pin, step).await? {
        return Ok(attachment);
    }
    pass_a_moment(cx).await?;
    attachment_here(cx).await
}

/// Whether the kernel announced the device while the cloud did this operation's own call, or a moment after.
async fn came_with_our_call(cx: &Context, pin: &dyn HeldDisk, step: &'static str) -> Result<bool, StepError> {
    let Some((sent, answered)) = cloud_call::accepted(cx, step).await? else {
        return Ok(false);
    };
    Ok(announced_at(cx, pin).is_some_and(|at| sent <= at && at <= answered + A_MOMENT))
}

/// When the kernel announced the device; `None` where its uevent never came here.
pub(super) fn announced_at(cx: &Context, pin: &dyn HeldDisk) -> Option<Timestamp> {
    let since = cx.world.kernel.since_announced(pin.diskseq())?;
    cx.world.store.now().checked_sub(since).ok()
}

/// Lets so much time pass that what was a moment old is told anew.
pub(super) async fn pass_a_moment(cx: &Context) -> Result<(), StepError> {
    tokio::select! {
        () = cx.interrupted.cancelled() => Err(StepError::Interrupted),
        () = tokio::time::sleep(A_MOMENT) => Ok(()),
    }
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
