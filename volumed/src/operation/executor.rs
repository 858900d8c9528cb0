//! Drives operations: asks the plan what is next, does it, and journals it before and after.

use std::collections::HashMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use telemetry::trace;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::plan::{self, Direction, Next};
use super::queue::Queue;
use super::step::{Context, Step, StepError, Verdict, with_causes};
use super::trouble::Patience;
use super::trouble::until_settled;
use super::world::World;
use super::{cloud_call, disputes, outcome, steps, turns};
use crate::model::{ErrorCode, Failure, JournalLine, OperationId, StepState};
use crate::store::{self, OperationRecord, StoreError};

/// Runs operations, each in a task of its own.
pub(super) struct Executor {
    pub(super) world: Arc<World>,
    pub(super) queue: Mutex<Queue>,
    /// Told when somebody wants a running operation withdrawn.
    pub(super) cancels: Mutex<HashMap<OperationId, CancellationToken>>,
    /// The traces of those that wait for their turn.
    pub(super) origins: Mutex<HashMap<OperationId, trace::Context>>,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

/// Why driving an operation stopped before its end.
pub(super) enum Halt {
    /// The daemon stops; the next start goes on from the journal.
    Stopping,
    /// The store failed; nothing can be journaled, so nothing is done.
    Store(StoreError),
    /// A step panicked.
    Panicked,
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Store(error)
    }
}

impl Executor {
    pub(super) fn new(world: Arc<World>) -> Arc<Self> {
        let queue = Mutex::new(Queue::new(world.settings.concurrency));
        Arc::new(Self {
            world,
            queue,
            cancels: Mutex::default(),
            origins: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Keeps disputes about disks on record for as long as the daemon runs.
    pub(super) fn keep_disputes(&self) {
        self.tasks
            .spawn(disputes::keep(Arc::clone(&self.world), self.stopping.clone()));
    }

    /// Takes an operation from where its journal says it is to its end.
    pub(super) async fn drive(
        &self,
        id: OperationId,
        cancel: &CancellationToken,
        naming: &Once,
    ) -> Result<(), Halt> {
        let mut op = self
            .world
            .store
            .write(move |tx| store::operations::start(tx, id))
            .await?;
        naming.call_once(|| turns::name_span(&op));
        let table = steps::of(op.request.kind());
        let names: Vec<&str> = table.iter().map(|step| step.name()).collect();
        let mut patience = Patience::default();
        while !op.status.is_final() {
            if self.stopping.is_cancelled() {
                return Err(Halt::Stopping);
            }
            let journal = self.journal(id).await?;
            self.withdraw_if_asked(&op, table, &journal).await?;
            op = self.reload(id).await?;
            let direction = match op.failure {
                Some(_) => Direction::Back,
                None => Direction::Forward,
            };
            let next = plan::next(&names, &journal, direction);
            // Once it cannot be taken back, and while it is being undone, only the end of the daemon cuts a wait short.
            let committed = direction == Direction::Back || is_past_return(table, &journal);
            let interrupted = match committed {
                true => self.stopping.child_token(),
                false => cancel.clone(),
            };
            let cx = self.context(&op, interrupted).await?;
            match next {
                Next::Run(i) => self.begin_and_run(&cx, table[i], &journal, &mut patience).await?,
                Next::Verify(i) => self.verify_or_run(&cx, table[i], &journal, &mut patience).await?,
                Next::Undo(i) => self.undo(&cx, table[i], &journal).await?,
                Next::Finish => self.finish(&cx).await?,
            }
            op = self.reload(id).await?;
        }
        Ok(())
    }

    async fn journal(&self, id: OperationId) -> Result<Vec<JournalLine>, StoreError> {
        let of = &self.world.store;
        let lines = of.read(move |conn| store::journal::read(conn, id)).await?;
        Ok(lines.into_iter().map(|record| record.line).collect())
    }

    async fn reload(&self, id: OperationId) -> Result<OperationRecord, StoreError> {
        let of = &self.world.store;
        let found = of.read(move |conn| store::operations::get(conn, id)).await?;
        found.ok_or_else(|| StoreError::Stale(format!("operation {id} has no record")))
    }

    async fn context(
        &self,
        op: &OperationRecord,
        interrupted: CancellationToken,
    ) -> Result<Context, StoreError> {
        let id = op.volume_id;
        let read = self.world.store.read(move |conn| store::volumes::get(conn, id));
        let volume = read
            .await?
            .ok_or_else(|| StoreError::Stale(format!("volume {id} has no record")))?;
        Ok(Context {
            world: Arc::clone(&self.world),
            op: op.clone(),
            volume,
            interrupted,
        })
    }

    /// Decides to undo an operation that somebody wants withdrawn, where that is still possible.
    async fn withdraw_if_asked(
        &self,
        op: &OperationRecord,
        table: &[&dyn Step],
        journal: &[JournalLine],
    ) -> Result<(), StoreError> {
        // The first step is always begun: undoing it is what gives back what admission took.
        let too_late = journal.is_empty() || is_past_return(table, journal);
        if !op.cancel_requested || op.failure.is_some() || too_late {
            return Ok(());
        }
        let mut failure = Failure::new(ErrorCode::NotCancellable, "cancelled on request");
        failure.cancelled = true;
        let id = op.id;
        self.world
            .store
            .write(move |tx| store::operations::set_failure(tx, id, &failure))
            .await
    }

    async fn begin_and_run(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
        patience: &mut Patience,
    ) -> Result<(), Halt> {
        self.note(cx, step, StepState::Started, None).await?;
        self.run(cx, step, journal, patience).await
    }

    async fn verify_or_run(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
        patience: &mut Patience,
    ) -> Result<(), Halt> {
        // Asked first: "not there" proves something only where nothing could have landed after that question.
        let doubt = match cloud_call::doubts(cx).await {
            // Its own call in doubt cannot bring about more than what is there already. Another one may take it back.
            Ok(doubts) => doubts
                .into_iter()
                .map(|doubt| (doubt.is_of(cx, step.name()), doubt))
                .min_by_key(|(own, _)| *own),
            Err(error) => return self.met(cx, step, journal, patience, error).await,
        };
        let error = match (step.verify(cx).await, doubt) {
            (Ok(Verdict::Done(seen)), None | Some((true, _))) => {
                patience.renew();
                return self.note(cx, step, StepState::Done, Some(seen)).await;
            }
            (_, Some((_, doubt))) => doubt.into_error(),
            (Ok(Verdict::NotDone), None) => return self.run(cx, step, journal, patience).await,
            (Err(error), None) => error,
        };
        self.met(cx, step, journal, patience, error).await
    }

    async fn run(
        &self,
        cx: &Context,
        step: &dyn Step,
        journal: &[JournalLine],
        patience: &mut Patience,
    ) -> Result<(), Halt> {
        let began = Instant::now();
        let span = tracing::info_span!("step", step = step.name());
        let result = step.run(cx).instrument(span).await;
        let outcome = match &result {
            Ok(_) => "done",
            Err(StepError::Failed(_) | StepError::Conflict(_)) => "failed",
            Err(_) => "waiting",
        };
        self.world
            .observer
            .step_finished(cx.op.request.kind(), step.name(), outcome, began.elapsed());
        match result {
            Ok(seen) => {
                patience.renew();
                self.note(cx, step, StepState::Done, Some(seen)).await
            }
            Err(error) => self.met(cx, step, journal, patience, error).await,
        }
    }

    async fn undo(&self, cx: &Context, step: &dyn Step, journal: &[JournalLine]) -> Result<(), Halt> {
        let latest = journal.iter().rev().find(|line| line.step == step.name());
        if latest.map(|line| line.state) != Some(StepState::Undoing) {
            self.note(cx, step, StepState::Undoing, None).await?;
        }
        let span = tracing::info_span!("undo", step = step.name());
        match step.undo(cx).instrument(span).await {
            Ok(()) => self.note(cx, step, StepState::Undone, None).await,
            Err(StepError::Store(error)) if !error.is_about_rows() => Err(error.into()),
            Err(StepError::InDoubt { waiting_for, until }) => {
                self.say_waiting(cx, &format!("undoing {}: {waiting_for}", step.name()))
                    .await?;
                self.sleep(until_settled(until, self.world.store.now())).await
            }
            // Undoing is never given up: what it leaves behind would be lost.
            Err(error) => {
                self.say_waiting(cx, &format!("undoing {}: {}", step.name(), with_causes(&error)))
                    .await?;
                self.sleep(Duration::from_secs(1)).await
            }
        }
    }

    async fn finish(&self, cx: &Context) -> Result<(), Halt> {
        let response: Option<Value> = match cx.op.failure {
            None => Some(outcome::response(cx).await?),
            Some(_) => None,
        };
        let id = cx.op.id;
        cx.crash_point("end", "before");
        let ended = self
            .world
            .store
            .write(move |tx| store::operations::finish(tx, id, response.as_ref()))
            .await?;
        cx.crash_point("end", "after");
        let took = ended
            .completed_at
            .unwrap_or(ended.updated_at)
            .duration_since(ended.created_at)
            .unsigned_abs();
        let kind = ended.request.kind();
        self.world.observer.operation_finished(kind, ended.status, took);
        tracing::info!(operation = %id, volume = %cx.volume.id, %kind, status = %ended.status, ?took, "operation ended");
        Ok(())
    }

    pub(super) async fn note(
        &self,
        cx: &Context,
        step: &dyn Step,
        state: StepState,
        detail: Option<String>,
    ) -> Result<(), Halt> {
        tracing::debug!(operation = %cx.op.id, step = step.name(), %state, detail, "journal");
        let (id, name) = (cx.op.id, step.name());
        cx.crash_point(name, &format!("before-{state}"));
        self.world
            .store
            .write(move |tx| {
                store::journal::append(tx, id, name, state, detail.as_deref())?;
                store::operations::set_waiting(tx, id, None)
            })
            .await?;
        cx.crash_point(name, &format!("after-{state}"));
        Ok(())
    }

    pub(super) async fn say_waiting(&self, cx: &Context, waiting_for: &str) -> Result<(), StoreError> {
        tracing::debug!(operation = %cx.op.id, waiting_for, "waiting");
        let (id, text) = (cx.op.id, waiting_for.to_owned());
        self.world
            .store
            .write(move |tx| store::operations::set_waiting(tx, id, Some(&text)))
            .await
    }

    pub(super) async fn sleep(&self, time: Duration) -> Result<(), Halt> {
        tokio::select! {
            () = self.stopping.cancelled() => Err(Halt::Stopping),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Until it is worth asking again: the time has passed, the devices changed, or the wait was interrupted.
    pub(super) async fn wait_for_change(&self, cx: &Context, at_most: Duration) {
        let seen = self.world.kernel.inventory();
        tokio::select! {
            () = cx.interrupted.cancelled() => {}
            () = tokio::time::sleep(at_most) => {}
            _ = self.world.kernel.changed_since(&seen) => {}
        }
    }
}

/// Whether a step that cannot be taken back has had its effect.
pub(super) fn is_beyond_undoing(table: &[&dyn Step], journal: &[JournalLine]) -> bool {
    table
        .iter()
        .any(|step| step.is_point_of_no_return() && plan::was_done(step.name(), journal))
}

/// Whether a step that cannot be taken back was started.
pub(super) fn is_past_return(table: &[&dyn Step], journal: &[JournalLine]) -> bool {
    table
        .iter()
        .any(|step| step.is_point_of_no_return() && plan::was_started(step.name(), journal))
}
