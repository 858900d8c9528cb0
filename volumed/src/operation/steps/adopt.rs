//! Adopting a volume: it has a record since admission; the cloud is asked again, what it tells is recorded, and where the
//! volume is attached here, the steps of an attach take that over.
//!
//! Undone, the record is a tombstone that names no volume of the provider's; the volume itself was never touched.

use async_trait::async_trait;

use super::{attach, await_device};
use crate::model::{ErrorCode, Failure, Request, VolumeState};
use crate::operation::adoption::{already_recorded, judge};
use crate::operation::cloud_call;
use crate::operation::step::{Context, Step, StepError, Verdict};
use crate::operation::world::provider_ref;
use crate::store::volumes::Provided;
use crate::store::{self, AuditEntry};

/// Whether the volume was attached here when it was asked for.
fn takes_over(cx: &Context) -> bool {
    matches!(cx.op.request, Request::Adopt { attached: true, .. })
}

/// The volume has a row, since admission; undone, the row is a tombstone and the provider's volume can be adopted again.
pub(super) struct Register;

#[async_trait]
impl Step for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    async fn verify(&self, _cx: &Context) -> Result<Verdict, StepError> {
        Ok(Verdict::Done("recorded at admission".into()))
    }

    async fn run(&self, _cx: &Context) -> Result<String, StepError> {
        Ok("recorded at admission".into())
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        let id = cx.volume.id;
        let forgotten = cx
            .world
            .store
            .write(move |tx| store::volumes::forget(tx, id))
            .await;
        cx.world.conditions.clear_all(id);
        Ok(forgotten?)
    }
}

/// What the cloud tells of the volume is recorded, and it counts as written and handed out: what is on it is not known.
pub(super) struct Record;

#[async_trait]
impl Step for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        Ok(match cx.volume.state {
            VolumeState::Creating => Verdict::NotDone,
            _ => Verdict::Done("recorded".into()),
        })
    }

    /// The cloud is asked anew: what it said at admission may be long ago.
    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        let of = provider_ref(&cx.volume)?.to_owned();
        let seen = cx.world.cloud.volume(&of).await?;
        cloud_call::require_idle(cx, seen.as_ref())?;
        let seen = judge(seen, &of, &cx.world.own_vm)?;
        if seen.attached_to.is_some() != takes_over(cx) {
            let text = format!("volume `{of}` was attached or detached while it was being adopted");
            return Err(Failure::new(ErrorCode::WrongState, text)
                .hint("adopt it again")
                .into());
        }
        let (id, actor, operation) = (cx.volume.id, cx.op.actor.clone(), cx.op.id);
        let detail = format!("{} with {}", seen.provider_ref, seen.size);
        let after = match takes_over(cx) {
            true => format!("{detail}, attached here"),
            false => detail.clone(),
        };
        let recorded = cx.world.store.write(move |tx| {
            if let Some(twin) = seen.identity.as_ref()
                && let Some(other) = store::volumes::by_identity(tx, twin)?.filter(|other| other.id != id)
            {
                return Ok(Err(already_recorded(&seen.provider_ref, other.id)));
            }
            let provided = Provided {
                provider_ref: &seen.provider_ref,
                identity: seen.identity.as_ref(),
                size: seen.size,
                fresh_zero: false,
            };
            store::volumes::set_provided(tx, id, &provided)?;
            store::volumes::mark_written(tx, id)?;
            store::volumes::mark_handed_out(tx, id)?;
            store::volumes::set_state(tx, id, VolumeState::Available)?;
            let why = format!("named `{}` in the cloud, and not recorded", seen.name);
            let entry = AuditEntry {
                actor: &actor,
                action: "adopt",
                volume_id: Some(id),
                operation_id: Some(operation),
                why: Some(&why),
                after: Some(&after),
                ..AuditEntry::default()
            };
            store::audit::append(tx, &entry)?;
            Ok::<_, store::StoreError>(Ok(()))
        });
        recorded.await??;
        Ok(detail)
    }

    /// The row goes with the registration.
    async fn undo(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }
}

/// A step of an attach, where there is an attachment to take over; else nothing is to be done.
pub(super) struct TakingOver(pub(super) &'static dyn Step);

#[async_trait]
impl Step for TakingOver {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is_point_of_no_return(&self) -> bool {
        self.0.is_point_of_no_return()
    }

    async fn verify(&self, cx: &Context) -> Result<Verdict, StepError> {
        match takes_over(cx) {
            true => self.0.verify(cx).await,
            false => Ok(nothing_to_take_over()),
        }
    }

    async fn run(&self, cx: &Context) -> Result<String, StepError> {
        match takes_over(cx) {
            true => self.0.run(cx).await,
            false => Ok("it is attached to nothing".into()),
        }
    }

    async fn undo(&self, cx: &Context) -> Result<(), StepError> {
        match takes_over(cx) {
            true => self.0.undo(cx).await,
            false => Ok(()),
        }
    }
}

fn nothing_to_take_over() -> Verdict {
    Verdict::Done("it is attached to nothing".into())
}

/// The steps of an attach, as an adoption goes through them.
pub(super) const STEPS: &[&dyn Step] = &[
    &Register,
    &Record,
    &TakingOver(&attach::Reserve),
    &TakingOver(&attach::CloudAttach),
    &TakingOver(&await_device::AwaitDevice),
    &TakingOver(&attach::Bind),
];
