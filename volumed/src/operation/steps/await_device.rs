//! Waiting for the device of an attached volume: exactly one is proven to be it, and the cloud still says that it is attached.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::device::HeldDisk;
use crate::model::{DeviceExpectation, OperationKind, StepState};
use crate::operation::cloud_call;
use crate::operation::device_wait::DeviceWait;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::appearance;
use crate::operation::steps::attach::{CloudAttach, expectation, send_detach};
use crate::operation::steps::attached::{announced_at, attached_here};
use crate::operation::steps::correlate;
use crate::operation::steps::detach::require_unused;
use crate::store;

/// Whether the operation is to have the volume attached, and not only to find the device of one that is.
fn attaches(cx: &Context) -> bool {
    matches!(cx.op.request.kind(), OperationKind::Attach | OperationKind::Adopt)
}

/// Has the cloud attach the volume again that it no longer has attached while its device is waited for: somebody may have
/// detached it, or what was read before was a moment old. Where the cloud says nothing that lasts, the wait goes on. A volume
/// that is only looked for has its record brought up to date.
async fn keep_attached(cx: &Context) -> Result<(), StepError> {
    match attached_here(cx).await {
        Err(StepError::Wait { .. }) => Ok(()),
        told => see_to_it(cx, told?).await,
    }
}

/// Does what is to be done where the cloud says whether the volume is attached here, and its device is not, or is not believed.
async fn see_to_it(cx: &Context, is_attached: bool) -> Result<(), StepError> {
    match is_attached {
        true if found_attached_at(cx).await?.is_some() => plug_anew(cx).await,
        true => Ok(()),
        false if attaches(cx) => CloudAttach.run(cx).await.map(drop),
        false => correlate::require_attached(cx).await.map(drop),
    }
}

/// When the volume that this operation was to attach was found attached here already, as somebody did it or as a forgotten
/// detach left it. `None` where the cloud attached it at this operation's request.
async fn found_attached_at(cx: &Context) -> Result<Option<Timestamp>, StepError> {
    if cx.op.request.kind() != OperationKind::Attach
        || cloud_call::was_accepted(cx, CloudAttach.name()).await?
    {
        return Ok(None);
    }
    let operation = cx.op.id;
    let store = &cx.world.store;
    let journal = store
        .read(move |conn| store::journal::read(conn, operation))
        .await?;
    let found = journal
        .iter()
        .rfind(|one| one.line.step == CloudAttach.name() && one.line.state == StepState::Done);
    Ok(found.map(|one| one.at))
}

/// Whether the device came after the volume was found attached: not by what attached it then, and not by any call of ours.
async fn came_by_itself(cx: &Context, pin: &dyn HeldDisk) -> Result<bool, StepError> {
    let Some(found) = found_attached_at(cx).await? else {
        return Ok(false);
    };
    Ok(announced_at(cx, pin).is_some_and(|at| at > found))
}

/// Has the cloud plug in anew what it says is plugged in. A disk that is not here although it was found attached, or that comes
/// without anything having been asked of the cloud, is nothing to wait for: what comes in its stead, alone and with its serial,
/// could not be told from it (`docs/adr/0014`).
async fn plug_anew(cx: &Context) -> Result<(), StepError> {
    require_unused(cx).await?;
    tracing::info!(volume = %cx.volume.id, "the cloud has the volume attached here, and its disk is not: plugged in anew");
    send_detach(cx, "cloud_unplug")
        .await
        .map_err(StepError::outwaiting_conflicts)?;
    CloudAttach.run(cx).await.map(drop)
}

/// What is done about a device that was proven while the cloud has the volume attached to nothing. It may be a twin, or a
/// phantom: an attach lets it go and begins anew, or it would bind it as soon as one list shows what was before.
pub(super) async fn refuse_unattached(cx: &Context) -> StepError {
    if attaches(cx) {
        cx.world.pins.let_go(cx.volume.id);
    }
    match keep_attached(cx).await {
        Ok(()) => StepError::wait("the cloud to say that the volume is attached here"),
        Err(error) => error,
    }
}

/// What is waited for: known beforehand, or told by the disk that appears.
async fn awaited(cx: &Context) -> Result<DeviceExpectation, StepError> {
    if cx.volume.identity.is_some() {
        return Ok(expectation(cx)?);
    }
    appearance::require_allowed(cx)?;
    Ok(DeviceExpectation {
        identity: appearance::await_appearance(cx).await?,
        size: cx.volume.size,
    })
}

/// The pin of the volume, where the live mapping is of the incarnation that it holds.
pub(super) async fn mapped_pin(cx: &Context) -> Result<Option<Arc<dyn HeldDisk>>, StepError> {
    let id = cx.volume.id;
    let mapping = cx.world.live_mapping(id).await?;
    let Some(pin) = cx.world.pins.of(id) else {
        return Ok(None);
    };
    let holds = mapping
        .is_some_and(|m| m.observed.boot_id == cx.world.boot_id && m.observed.diskseq == pin.diskseq());
    Ok(holds.then_some(pin))
}

/// Exactly one device of this machine is proven to be the volume's, and held open.
pub(super) struct AwaitDevice;

#[async_trait]
impl Step for AwaitDevice {
    fn name(&self) -> &'static str {
        "await_device"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        let (Some(pin), Some(expected)) = (cx.world.pins.of(cx.volume.id), cx.volume.expectation()) else {
            return Ok(Verdict::NotDone);
        };
        Ok(match cx.world.kernel.verify(pin, &expected).await {
            Ok(seen) => Verdict::Done(format!("{} is it", seen.device_path)),
            Err(_) => Verdict::NotDone,
        })
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        if let Verdict::Done(seen) = self.verify(cx).await? {
            return Ok(seen);
        }
        cx.world.pins.let_go(cx.volume.id);
        let expected = awaited(cx).await?;
        let mut wait = DeviceWait::new(cx, &expected);
        let pin = loop {
            match wait.slice().await? {
                Some(pin) if !came_by_itself(cx, &*pin).await? => break pin,
                // It is there the next time, too: a cloud that says nothing that lasts is waited for by another try of the step.
                Some(_) => see_to_it(cx, attached_here(cx).await?).await?,
                None => keep_attached(cx).await?,
            }
        };
        let node = pin.node().display().to_string();
        cx.world.pins.hold(cx.volume.id, pin);
        Ok(format!("{node} is it"))
    }

    /// A pin that a live mapping stands on is kept: correlating again found nothing wrong with it.
    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        if mapped_pin(cx).await?.is_none() {
            cx.world.pins.let_go(cx.volume.id);
        }
        Ok(())
    }
}
