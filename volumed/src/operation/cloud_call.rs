//! A call to the cloud that changes something: recorded before it is sent, and never sent while an earlier one may land.

use std::future::Future;

use jiff::Timestamp;
use uuid::Uuid;

use super::step::{Context, StepError, with_causes};
use crate::cloud::{Call, CloudError};
use crate::store::{self, CallRecord};

/// What is recorded of a call that the cloud took.
const ACCEPTED: &str = "accepted";
/// What is recorded of a call that surely did nothing.
const DID_NOTHING: &str = "did nothing";

/// Sends a call for `step`, after recording it. What it returns is recorded too; a lost answer stays unanswered in the
/// record until the call has expired, and until then this refuses to send another.
pub(super) async fn send<T, F, Fut>(cx: &Context, step: &'static str, call: F) -> Result<T, StepError>
where
    F: FnOnce(Call) -> Fut,
    Fut: Future<Output = Result<T, CloudError>>,
{
    fence(cx).await?;
    let id = Uuid::new_v4().to_string();
    let expiry = cx.world.call_expiry();
    let (operation, call_id) = (cx.op.id, id.clone());
    cx.world
        .store
        .write(move |tx| {
            let expires_at = tx.now().saturating_add(expiry).unwrap_or(Timestamp::MAX);
            store::calls::record(tx, operation, step, &call_id, expires_at)
        })
        .await?;

    let result = call(Call { id: id.clone() }).await;
    let outcome = match &result {
        Ok(_) => Some(ACCEPTED.to_owned()),
        Err(CloudError::Unknown { .. }) => None,
        Err(error) => Some(format!("{DID_NOTHING}: {}", with_causes(error))),
    };
    cx.world
        .store
        .write(move |tx| match outcome {
            Some(outcome) => store::calls::answer(tx, &id, &outcome),
            // It may have been tried more than once: what counts is the last time.
            None => store::calls::doubt(tx, &id, tx.now().saturating_add(expiry).unwrap_or(Timestamp::MAX)),
        })
        .await?;
    result.map_err(|error| match error {
        CloudError::Unknown { .. } => {
            let until = Timestamp::now().saturating_add(expiry).unwrap_or(Timestamp::MAX);
            StepError::InDoubt {
                waiting_for: with_causes(&error),
                until,
            }
        }
        other => other.into(),
    })
}

/// That no earlier call about the volume, of this operation or another, may still land.
pub(super) async fn fence(cx: &Context) -> Result<(), StepError> {
    let volume = cx.volume.id;
    let open = cx
        .world
        .store
        .read(move |conn| store::calls::in_doubt_until(conn, volume))
        .await?;
    match open {
        Some((step, until)) if until > Timestamp::now() => Err(StepError::InDoubt {
            waiting_for: format!("an earlier `{step}` call to the cloud, which may land until {until}"),
            until,
        }),
        _ => Ok(()),
    }
}

/// Whether the cloud itself said that it took this operation's latest call for `step`.
pub(super) async fn was_accepted(cx: &Context, step: &'static str) -> Result<bool, StepError> {
    let operation = cx.op.id;
    let latest = cx
        .world
        .store
        .read(move |conn| store::calls::latest(conn, operation, step))
        .await?;
    Ok(latest.is_some_and(|call| call.outcome.as_deref() == Some(ACCEPTED)))
}

/// Whether this operation ever sent a call for `step`.
pub(super) async fn was_sent(cx: &Context, step: &'static str) -> Result<bool, StepError> {
    let operation = cx.op.id;
    let latest = cx
        .world
        .store
        .read(move |conn| store::calls::latest(conn, operation, step))
        .await?;
    let did_nothing = |call: &CallRecord| call.outcome.as_ref().is_some_and(|o| o.starts_with(DID_NOTHING));
    Ok(latest.is_some_and(|call| !did_nothing(&call)))
}
