//! Devices that are here while the cloud has their volume attached to nothing: waited for, shown, never attached over.

use volume_client::types::ConditionKind;

use crate::model::{ErrorCode, Failure};
use crate::operation::step::{Context, StepError};

/// That no device of the volume is here any more.
pub(super) async fn require_gone(cx: &Context) -> Result<(), StepError> {
    match &cx.volume.identity {
        Some(identity) if !cx.world.kernel.await_gone(cx, identity).await? => {
            let nodes = cx.world.kernel.carriers(identity).await?;
            if !nodes.is_empty() {
                note_phantom(cx, &nodes);
            }
            Err(StepError::wait("the device to go"))
        }
        _ => Ok(()),
    }
}

/// What a person can do about a device that the cloud does not know of.
const PHANTOM_HINT: &str = "on the hypervisor's host, find the disk of this serial in `virsh dumpxml` of this VM and remove \
    it with `virsh detach-disk`, or stop and start this VM; it is neither handed out nor attached over";

/// That no device of the volume is here while the cloud has it attached to nothing. One that stays is a phantom, as a
/// management server leaves it that was restarted in the middle of an attach: the disk is plugged in, and the cloud would
/// plug it in a second time, or into another VM.
pub(super) async fn require_no_phantom(cx: &Context) -> Result<(), StepError> {
    let Some(identity) = &cx.volume.identity else {
        return Ok(());
    };
    if cx.world.kernel.await_gone(cx, identity).await? {
        cx.world
            .conditions
            .clear(cx.volume.id, ConditionKind::GhostAttached);
        return Ok(());
    }
    let nodes = cx.world.kernel.carriers(identity).await?;
    // What kept us waiting may be another disk that does not settle.
    if nodes.is_empty() {
        return Ok(());
    }
    Err(StepError::Obstructed(note_phantom(cx, &nodes)))
}

fn note_phantom(cx: &Context, nodes: &[String]) -> Failure {
    let text = format!(
        "the device of volume {} is here as {}, but the cloud has the volume attached to nothing",
        cx.volume.id,
        nodes.join(", ")
    );
    let id = cx.volume.id;
    cx.world
        .conditions
        .raise(id, ConditionKind::GhostAttached, text.clone(), PHANTOM_HINT);
    Failure::new(ErrorCode::WrongState, text).hint(PHANTOM_HINT)
}
