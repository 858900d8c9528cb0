//! The worker's end of the line: takes calls, does them at its sources, tells what came of them.
//!
//! The line may be lost at any time: calls go on meanwhile, and what came of them is told when it is back. A call that nobody
//! waits for any more is stopped.

mod copy;
mod line;
mod service;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use super::wire::{
    Answer, Ask, Call, CallId, ChangesText, Failure, Orders, Outcome, PROTOCOL, Report, SenseError,
};
use crate::block::Cancel;
use crate::model::chain;
use crate::source::{Category, Frozen, FrozenDisk, Source, SourceBook, SourceFailure};

pub use line::{Line, LineError};
pub use service::{Access, ServiceAddress, ServiceAddressError, USUAL_PORT};

/// The first and the longest pause before a lost line is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long a leaving worker tries to say so.
const GOODBYE: Duration = Duration::from_secs(3);

/// A worker.
pub struct Hand {
    line: Arc<Line>,
    book: Arc<dyn SourceBook>,
    instance: Uuid,
    stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    busy: HashMap<CallId, Cancel>,
    held: HashMap<CallId, Arc<dyn Frozen>>,
}

impl Hand {
    /// One that does nothing before [`run`](Self::run). It ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(line: Line, book: Arc<dyn SourceBook>, stopping: CancellationToken) -> Self {
        Self {
            line: Arc::new(line),
            book,
            instance: Uuid::new_v4(),
            stopping,
            state: Mutex::default(),
        }
    }

    /// Does what the service wants, until it is stopped; then what is under way is ended in order, and what is frozen stays
    /// to be gone on with. `say` is told how the line is.
    pub async fn run(self: Arc<Self>, say: impl Fn(&str)) {
        let mut tasks = JoinSet::new();
        let (mut pause, mut is_lost) = (PAUSES.0, None);
        loop {
            let report = self.report(false);
            let heard = tokio::select! {
                () = self.stopping.cancelled() => break,
                heard = self.line.orders(&report) => heard,
            };
            match heard {
                Ok(orders) => {
                    if is_lost != Some(false) {
                        say(&format!("connected to the service at {}", self.line.service()));
                    }
                    (pause, is_lost) = (PAUSES.0, Some(false));
                    self.follow(orders, &mut tasks);
                }
                Err(error) => {
                    if is_lost != Some(true) {
                        say(&format!("{}; trying again until it can be", chain(&error)));
                    }
                    is_lost = Some(true);
                    tokio::select! {
                        () = self.stopping.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            while tasks.try_join_next().is_some() {}
        }
        for cancel in self.state.lock().busy.values() {
            cancel.cancel();
        }
        while tasks.join_next().await.is_some() {}
        let goodbye = self.report(true);
        let _ = tokio::time::timeout(GOODBYE, self.line.orders(&goodbye)).await;
    }

    fn report(&self, leaves: bool) -> Report {
        let state = self.state.lock();
        Report {
            instance: self.instance,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            busy_with: state.busy.keys().copied().collect(),
            holds: state.held.keys().copied().collect(),
            leaves,
        }
    }

    fn follow(self: &Arc<Self>, orders: Orders, tasks: &mut JoinSet<()>) {
        for id in orders.cancelled {
            if let Some(cancel) = self.state.lock().busy.get(&id) {
                cancel.cancel();
            }
        }
        for id in orders.forget {
            self.state.lock().held.remove(&id);
        }
        for call in orders.calls {
            let cancel = Cancel::new();
            if self.state.lock().busy.insert(call.id, cancel.clone()).is_some() {
                continue;
            }
            let this = Arc::clone(self);
            let job = call.job.as_deref().map(tracing::field::display);
            let span = tracing::info_span!(parent: None, "call", call_id = %call.id, job_id = job);
            let doing = async move {
                let id = call.id;
                let _busy = Busy { hand: &this, id };
                tracing::info!(host = call.host, "begins: {}", call.ask.name());
                let done = this.work(call, &cancel).await;
                if let Err(failure) = &done {
                    tracing::warn!(error = failure.why, "a call failed");
                }
                this.tell(id, &done, &cancel).await;
            };
            tasks.spawn(doing.instrument(span));
        }
    }

    /// Tells what came of a call, again and again while the line is lost, until it is taken or nobody wants to know. What the
    /// service does not take is a failure.
    async fn tell(&self, id: CallId, outcome: &Outcome, cancel: &Cancel) {
        let mut refused = None;
        loop {
            match self.line.outcome(id, refused.as_ref().unwrap_or(outcome)).await {
                Ok(()) | Err(LineError::Gone) => return,
                Err(LineError::Refused { what }) if refused.is_none() => {
                    tracing::warn!(what, "the service does not take what came of a call");
                    let why = format!("the service did not take what the worker told: {what}");
                    refused = Some(Err(Failure::from(&SourceFailure::new(Category::Other, why))));
                    continue;
                }
                Err(LineError::Refused { .. }) => return,
                Err(error) => tracing::debug!(error = chain(&error), "cannot tell an outcome"),
            }
            // Whoever is told to stop has nobody who listens.
            if cancel.is_cancelled() {
                return;
            }
            tokio::time::sleep(PAUSES.0).await;
        }
    }

    async fn work(&self, call: Call, cancel: &Cancel) -> Outcome {
        let worked = self.answer(call, cancel).await;
        worked.map_err(|failure| match self.stopping.is_cancelled() {
            true => Failure::from(
                &SourceFailure::new(Category::Away, "the worker is being stopped").unknown_if(true),
            ),
            false => Failure::from(&failure),
        })
    }

    async fn answer(&self, call: Call, cancel: &Cancel) -> Result<Answer, SourceFailure> {
        Ok(match call.ask {
            Ask::Machines(wanted) => {
                Answer::Machines(self.source(&call.host).await?.machines(&wanted).await?)
            }
            Ask::Machine { wanted, datacenter } => {
                let source = self.source(&call.host).await?;
                let machine = source.machine(&wanted, datacenter.as_deref()).await?;
                Answer::Machine(Box::new(machine))
            }
            Ask::Freeze { machine, cycle } => {
                let frozen = self.source(&call.host).await?.freeze(&machine, &cycle).await?;
                let disks = frozen.disks().to_vec();
                self.state.lock().held.insert(call.id, Arc::from(frozen));
                Answer::Frozen(disks)
            }
            Ask::CleanUp { machine, owner } => {
                let source = self.source(&call.host).await?;
                source.clean_up(&machine, &owner).await?;
                Answer::Done
            }
            Ask::Changes { frozen, disk, since } => {
                let frozen = self.held(frozen)?;
                let disk = disk_of(&*frozen, &disk)?;
                let changes = frozen.changes(&disk, since.as_ref()).await?;
                Answer::Changes(ChangesText::from(&changes))
            }
            Ask::Copy { frozen, disk, order } => {
                let frozen = self.held(frozen)?;
                let disk = disk_of(&*frozen, &disk)?;
                copy::copy(&self.line, call.id, &*frozen, &disk, *order, cancel).await?
            }
            Ask::Check { frozen } => {
                self.held(frozen)?.check().await?;
                Answer::Done
            }
            Ask::Release { frozen } => {
                self.held(frozen)?.release().await?;
                Answer::Done
            }
        })
    }

    async fn source(&self, host: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        self.book.connect(host).await
    }

    fn held(&self, frozen: CallId) -> Result<Arc<dyn Frozen>, SourceFailure> {
        let held = self.state.lock().held.get(&frozen).cloned();
        let why = "the worker was started anew, and holds nothing frozen any more";
        held.ok_or_else(|| SourceFailure::new(Category::Away, why))
    }
}

/// The place of a call among those under way; free again when this is dropped, even by a panic.
struct Busy<'a> {
    hand: &'a Hand,
    id: CallId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.hand.state.lock().busy.remove(&self.id);
    }
}

impl Ask {
    /// For the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Machines(_) | Self::Machine { .. } => "find machines",
            Self::Freeze { .. } => "freeze a machine",
            Self::CleanUp { .. } => "clean up",
            Self::Changes { .. } => "tell changes",
            Self::Copy { .. } => "copy a disk",
            Self::Check { .. } => "check what is frozen",
            Self::Release { .. } => "let go",
        }
    }
}

fn disk_of(frozen: &dyn Frozen, id: &str) -> Result<FrozenDisk, SourceFailure> {
    let found = frozen.disks().iter().find(|disk| disk.id == id).cloned();
    found.ok_or_else(|| SourceFailure::new(Category::Other, format!("disk `{id}` is not frozen")))
}

fn senseless(error: SenseError) -> SourceFailure {
    SourceFailure::new(Category::Other, error)
}
