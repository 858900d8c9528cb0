//! Correlating: an attached volume is still attached here; then its device is found, proven and bound as by an attach.

use std::sync::Arc;

use async_trait::async_trait;
use volume_client::types::ConditionKind;

use crate::cloud::ProviderVolume;
use crate::device::HeldDisk;
use crate::model::{ErrorCode, Failure};
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::attach::{end_attachment, expectation};
use crate::operation::steps::attached::still_attached_here;
use crate::operation::steps::await_device::mapped_pin;
use crate::store;

/// An attached volume is still attached here; the mapping that no longer holds is released.
pub(super) struct StillAttached;

#[async_trait]
impl Step for StillAttached {
    fn name(&self) -> &'static str {
        "check_cloud"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::NotDone)
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let seen = require_attached(cx).await?;
        if let Some(pin) = mapped_pin(cx).await? {
            let expected = expectation(cx)?;
            if cx.world.kernel.verify(pin, &expected).await.is_ok() {
                return Ok("the mapping holds".into());
            }
        }
        let is_replugged = is_replugged(cx, &seen).await?;
        let id = cx.volume.id;
        cx.world
            .store
            .write(move |tx| {
                store::mappings::release(tx, id, "it no longer fits the kernel")?;
                // What happened to the device while nobody watched is not known.
                store::volumes::mark_written(tx, id)
            })
            .await?;
        let is_pulled_out = |pin: Arc<dyn HeldDisk>| cx.world.kernel.is_pulled_out(&*pin);
        match cx.world.pins.of(id).is_some_and(is_pulled_out) {
            true => cx.world.pins.retire(id),
            false => cx.world.pins.let_go(id),
        }
        if is_replugged {
            let text = format!(
                "the disk of volume {id} was pulled out of this VM without the cloud's doing; what has its serial since then is \
                 not proven to be it"
            );
            return Err(Failure::new(ErrorCode::DeviceChanged, text)
                .hint("detach the volume and attach it again: then the cloud itself plugs its disk in")
                .into());
        }
        Ok("the stale mapping is released".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// That the cloud has the volume attached here still. Where it says twice that it has not, and the device is gone, the record is
/// brought up to date: a list can be a moment old.
pub(super) async fn require_attached(cx: &Context) -> Result<ProviderVolume, StepError> {
    if let Some(seen) = still_attached_here(cx).await? {
        return Ok(seen);
    }
    let id = cx.volume.id;
    if !goes_when_let_go(cx).await? {
        let text = format!("volume {id} is detached in the cloud, but its device is still here");
        let hint = "end what holds the device; it is not handed out";
        cx.world
            .conditions
            .raise(id, ConditionKind::GhostAttached, text.clone(), hint);
        return Err(Failure::new(ErrorCode::WrongState, text).into());
    }
    end_attachment(cx, "the cloud and the kernel say that it is detached").await?;
    let text = format!("volume {id} is attached to nothing any more; its record now says so");
    Err(Failure::new(ErrorCode::NotAttached, text)
        .hint("attach it again")
        .into())
}

/// Whether the plug-in that was bound is gone although the cloud still shows the very attachment of that time. A serial tells
/// which volume a disk claims to be; that the cloud has just plugged it in is what makes the claim good. A provider that has
/// no mark of an attachment has identities that need none.
async fn is_replugged(cx: &Context, seen: &ProviderVolume) -> Result<bool, StepError> {
    let id = cx.volume.id;
    let bound = cx.world.store.read(move |conn| {
        let Some(attachment) = store::attachments::live(conn, id)? else {
            return Ok(None);
        };
        let latest = store::mappings::latest_of(conn, attachment.id)?;
        Ok::<_, store::StoreError>(latest.map(|mapping| (attachment.mark, mapping)))
    });
    let Some((Some(mark), mapping)) = bound.await? else {
        return Ok(false);
    };
    let is_of_now =
        mapping.observed.boot_id == cx.world.boot_id && seen.attachment_mark.as_ref() == Some(&mark);
    if !is_of_now {
        return Ok(false);
    }
    let inventory = cx.world.kernel.look().await?;
    let mut carriers = inventory.carriers(&mapping.observed.identity);
    let is_still_here = carriers.any(|disk| disk.diskseq == mapping.observed.diskseq);
    Ok(!is_still_here)
}

/// Whether the device of a volume that the cloud has detached is gone, or goes once we no longer hold it: a loop device
/// stays for as long as anybody has it open. Where somebody else uses it, nothing is let go.
async fn goes_when_let_go(cx: &Context) -> Result<bool, StepError> {
    let expected = expectation(cx)?;
    if cx.world.kernel.is_gone(&expected.identity).await? {
        return Ok(true);
    }
    let id = cx.volume.id;
    let leases = cx
        .world
        .store
        .read(move |conn| store::leases::live_of(conn, id))
        .await?;
    if !leases.is_empty() || !cx.world.kernel.uses(&expected.identity).await?.is_empty() {
        return Ok(false);
    }
    let Some(pin) = cx.world.pins.of(id) else {
        return Ok(false);
    };
    drop(pin);
    cx.world.pins.let_go(id);
    if cx.world.kernel.await_gone(cx, &expected.identity).await? {
        return Ok(true);
    }
    // It stays: whoever asks for it next, or the next correlation, holds it again after a new proof.
    Ok(false)
}
