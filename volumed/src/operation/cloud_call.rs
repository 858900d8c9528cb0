//! A call to the cloud that changes something: recorded before it is sent, and never sent while an earlier one may land.

use std::future::Future;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use volume_client::types::ConditionKind;

use super::step::{Context, StepError, with_causes};
use crate::cloud::{Call, CloudError, Fate, ProviderState, ProviderVolume};
use crate::store::{self, CallRecord, OpenCall};

/// What is recorded of a call that the cloud took.
const ACCEPTED: &str = "accepted";
/// What is recorded of a call that surely did nothing.
const DID_NOTHING: &str = "did nothing";
/// What is recorded of a call whose answer was lost, once the cloud has said that it came to its end.
const ENDED: &str = "ended, well or badly";
/// What is recorded of a call whose answer was lost, once it can no longer land and the cloud is not at it.
const EXPIRED: &str = "expired";

/// How soon a call in doubt is asked about again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// Sends a call for `step`, after recording it. What it returns is recorded too; a lost answer stays unanswered in the
/// record until the call has expired, and until then this refuses to send another.
pub(super) async fn send<T, F, Fut>(cx: &Context, step: &'static str, call: F) -> Result<T, StepError>
where
    F: FnOnce(Call) -> Fut,
    Fut: Future<Output = Result<T, CloudError>>,
{
    fence(cx).await?;
    require_idle(cx, cx.world.in_cloud(&cx.volume).await?.as_ref())?;
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

    tracing::info!(call = id, step, "sending a call to the cloud");
    cx.crash_point(step, "before-call");
    let result = nudging(cx, call(Call { id: id.clone() })).await;
    cx.crash_point(step, "after-call");
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
    cx.crash_point(step, "after-answer");
    result.map_err(|error| match error {
        CloudError::Unknown { .. } => {
            let until = cx
                .world
                .store
                .now()
                .saturating_add(expiry)
                .unwrap_or(Timestamp::MAX);
            StepError::InDoubt {
                waiting_for: with_causes(&error),
                until,
            }
        }
        other => other.into(),
    })
}

/// That no earlier call about the volume, of this operation or another, may still land or is still being worked at.
pub(super) async fn fence(cx: &Context) -> Result<(), StepError> {
    match doubts(cx).await?.pop() {
        Some(doubt) => Err(doubt.into_error()),
        None => Ok(()),
    }
}

/// Awaits a call, and nudges the cloud whenever the devices of this machine change meanwhile: the call may be why.
async fn nudging<T>(cx: &Context, call: impl Future<Output = T>) -> T {
    let (kernel, mut seen) = (&cx.world.kernel, cx.world.kernel.inventory());
    tokio::pin!(call);
    loop {
        tokio::select! {
            done = &mut call => return done,
            changed = kernel.changed_since(&seen) => {
                seen = changed;
                cx.world.cloud.nudge();
            }
        }
    }
}

/// That the cloud is at no work on the volume, whoever ordered it: a second job would wait behind the first, and undo
/// what was decided after it (apache/cloudstack#14214).
pub(super) fn require_idle(cx: &Context, seen: Option<&ProviderVolume>) -> Result<(), StepError> {
    let (id, conditions) = (cx.volume.id, &cx.world.conditions);
    let Some(ProviderState::Busy(what)) = seen.map(|volume| &volume.state) else {
        conditions.clear(id, ConditionKind::JobPending);
        return Ok(());
    };
    let text = format!("the cloud to finish what it is doing with the volume: {what}");
    let hint = "nothing is sent meanwhile; if it takes too long, look at the job in the cloud";
    conditions.raise(id, ConditionKind::JobPending, text.clone(), hint);
    Err(StepError::wait(text))
}

/// A call that may still have, or come to have, its effect.
#[derive(Debug)]
pub(super) struct Doubt {
    call: OpenCall,
    /// What is known of it, for people.
    why: String,
    /// When to ask again.
    until: Timestamp,
}

impl Doubt {
    /// Whether it is a call of this very step of this very operation: its effect, once seen, is what was wanted.
    pub(super) fn is_of(&self, cx: &Context, step: &str) -> bool {
        self.call.operation == cx.op.id && self.call.step == step
    }

    /// The error of a step that has to wait for it.
    pub(super) fn into_error(self) -> StepError {
        StepError::InDoubt {
            waiting_for: format!("an earlier `{}` call to the cloud, {}", self.call.step, self.why),
            until: self.until,
        }
    }
}

/// The calls about the volume, of this operation or another, that may still land or are still being worked at. The cloud
/// is asked for the fate of each; what it says of one that came to its end is recorded.
pub(super) async fn doubts(cx: &Context) -> Result<Vec<Doubt>, StepError> {
    let volume = cx.volume.id;
    let open = cx
        .world
        .store
        .read(move |conn| store::calls::open_for(conn, volume))
        .await?;
    let mut doubts = Vec::new();
    for call in open {
        doubts.extend(settle(cx, call).await?);
    }
    Ok(doubts)
}

/// Asks for the fate of a call whose answer was lost. `None` once it is settled, which is recorded.
async fn settle(cx: &Context, open: OpenCall) -> Result<Option<Doubt>, StepError> {
    let (now, call) = (cx.world.store.now(), Call { id: open.id.clone() });
    let soon = now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
    let doubt = |why: String, until| {
        Ok(Some(Doubt {
            call: open.clone(),
            why,
            until,
        }))
    };
    let outcome = match cx
        .world
        .cloud
        .fate(&call, cx.volume.provider_ref.as_deref())
        .await
    {
        Ok(Fate::Ended) => ENDED,
        Ok(Fate::Pending(what)) => return doubt(format!("which the cloud is at: {what}"), soon),
        Ok(Fate::Unseen) if open.expires_at > now => {
            let why = format!("which may land until {}", open.expires_at);
            return doubt(why, open.expires_at.min(soon));
        }
        Ok(Fate::Unseen) => EXPIRED,
        Err(error) => {
            let why = format!(
                "and the cloud does not tell what became of it: {}",
                with_causes(&error)
            );
            return doubt(why, soon);
        }
    };
    tracing::info!(operation = %open.operation, step = open.step, call = open.id, outcome, "a call in doubt is settled");
    cx.world
        .store
        .write(move |tx| store::calls::answer(tx, &open.id, outcome))
        .await?;
    Ok(None)
}

/// When the cloud itself said that it did this operation's latest call for `step`: when that was sent, and answered.
pub(super) async fn accepted(
    cx: &Context,
    step: &'static str,
) -> Result<Option<(Timestamp, Timestamp)>, StepError> {
    let accepted = latest(cx, step)
        .await?
        .filter(|call| call.outcome.as_deref() == Some(ACCEPTED));
    Ok(accepted.and_then(|call| Some((call.sent_at, call.answered_at?))))
}

/// Whether the cloud itself said that it did this operation's latest call for `step`.
pub(super) async fn was_accepted(cx: &Context, step: &'static str) -> Result<bool, StepError> {
    Ok(accepted(cx, step).await?.is_some())
}

/// Whether this operation ever sent a call for `step`.
pub(super) async fn was_sent(cx: &Context, step: &'static str) -> Result<bool, StepError> {
    let did_nothing = |call: &CallRecord| call.outcome.as_ref().is_some_and(|o| o.starts_with(DID_NOTHING));
    Ok(latest(cx, step).await?.is_some_and(|call| !did_nothing(&call)))
}

/// This operation's latest call for `step`.
async fn latest(cx: &Context, step: &'static str) -> Result<Option<CallRecord>, StepError> {
    let operation = cx.op.id;
    let store = &cx.world.store;
    Ok(store
        .read(move |conn| store::calls::latest(conn, operation, step))
        .await?)
}
