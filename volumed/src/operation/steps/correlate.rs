//! Correlating: an attached volume is still attached here; then its device is found, proven and bound as by an attach.

use async_trait::async_trait;
use volume_client::types::ConditionKind;

use crate::model::{ErrorCode, Failure};
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::steps::attach::{end_attachment, expectation, mapped_pin};
use crate::operation::steps::attached::attached_here;
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
        if !attached_here(cx).await? {
            if !goes_when_let_go(cx).await? {
                let text = format!(
                    "volume {} is detached in the cloud, but its device is still here",
                    cx.volume.id
                );
                cx.world.conditions.raise(
                    cx.volume.id,
                    ConditionKind::GhostAttached,
                    text.clone(),
                    "end what holds the device; it is not handed out",
                );
                return Err(Failure::new(ErrorCode::WrongState, text).into());
            }
            end_attachment(cx, "the cloud and the kernel say that it is detached").await?;
            let text = format!(
                "volume {} is attached to nothing any more; its record now says so",
                cx.volume.id
            );
            return Err(Failure::new(ErrorCode::NotAttached, text)
                .hint("attach it again")
                .into());
        }
        if let Some(pin) = mapped_pin(cx).await? {
            let expected = expectation(cx)?;
            if cx.world.kernel.verify(pin, &expected).await.is_ok() {
                return Ok("the mapping holds".into());
            }
        }
        let id = cx.volume.id;
        cx.world
            .store
            .write(move |tx| {
                store::mappings::release(tx, id, "it no longer fits the kernel")?;
                // What happened to the device while nobody watched is not known.
                store::volumes::mark_written(tx, id)
            })
            .await?;
        cx.world.pins.let_go(id);
        Ok("the stale mapping is released".into())
    }

    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
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
