//! The starts that are under way: one for each schedule, beside one another.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};

use super::super::starter::start_all;
use super::super::timetable::{Answer, RunNowError};
use super::super::{Begun, BegunBy, Outcome, Schedule, Starter, VmFate};
use super::remember::Remembering;

/// The starts that are under way. Dropping it breaks them off.
pub(super) struct Starts {
    starter: Arc<dyn Starter>,
    memory: Remembering,
    tasks: JoinSet<()>,
    under_way: BTreeMap<String, UnderWay>,
}

/// How a start came to its end.
pub(super) type Ended = Result<(Id, ()), JoinError>;

struct UnderWay {
    task: Id,
    schedule: Arc<Schedule>,
    due: Timestamp,
    by: BegunBy,
}

impl Starts {
    pub(super) fn new(starter: Arc<dyn Starter>, memory: Remembering) -> Self {
        Self {
            starter,
            memory,
            tasks: JoinSet::new(),
            under_way: BTreeMap::new(),
        }
    }

    /// Begins a run, unless the start of the schedule's earlier run is under way; that is said then.
    pub(super) async fn begin(&mut self, schedule: Schedule, due: Timestamp) {
        self.tidy().await;
        let name = schedule.name.clone();
        if let Some(earlier) = self.under_way.get(&name).map(|under_way| under_way.due) {
            tracing::warn!(schedule = name, %due, %earlier, "a run is skipped: the earlier one is still being started");
            let outcome = Outcome::SkippedWhileStarting { earlier };
            return self.memory.ran(name, due, BegunBy::Calendar, outcome).await;
        }
        tracing::info!(schedule = name, %due, "a run begins");
        let schedule = Arc::new(schedule);
        let begun = self.start(&schedule, due, BegunBy::Calendar);
        let task = async move {
            begun.await;
        };
        self.spawn(schedule, due, BegunBy::Calendar, task);
    }

    /// Begins what a person asks for, and tells what came of it; unless the start of an earlier run is under way.
    pub(super) async fn begin_by_hand(&mut self, schedule: Schedule, now: Timestamp, answer: Answer) {
        self.tidy().await;
        if let Some(since) = self.under_way.get(&schedule.name).map(|under_way| under_way.due) {
            let schedule = schedule.name;
            let _ = answer.send(Err(RunNowError::BeingStarted { schedule, since }));
            return;
        }
        tracing::info!(schedule = schedule.name, "a run begins by hand");
        let schedule = Arc::new(schedule);
        let begun = self.start(&schedule, now, BegunBy::Person);
        let task = async move {
            // Whoever asked may have gone; it is on record.
            let _ = answer.send(Ok(begun.await));
        };
        self.spawn(schedule, now, BegunBy::Person, task);
    }

    /// Starts, and records what came of it.
    fn start(
        &self,
        schedule: &Arc<Schedule>,
        due: Timestamp,
        by: BegunBy,
    ) -> impl Future<Output = Vec<Begun>> + Send + 'static {
        let (starter, memory) = (Arc::clone(&self.starter), self.memory.clone());
        let schedule = Arc::clone(schedule);
        async move {
            let selections = start_all(&*starter, &schedule).await;
            let outcome = Outcome::Begun {
                selections: selections.clone(),
            };
            memory.ran(schedule.name.clone(), due, by, outcome).await;
            selections
        }
    }

    fn spawn(
        &mut self,
        schedule: Arc<Schedule>,
        due: Timestamp,
        by: BegunBy,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let under_way = UnderWay {
            task: self.tasks.spawn(task).id(),
            due,
            by,
            schedule: Arc::clone(&schedule),
        };
        self.under_way.insert(schedule.name.clone(), under_way);
    }

    /// Waits until a start comes to its end; for ever where none is under way. [`Starts::ended`] takes notice of it: what
    /// is given up while it waits has lost nothing.
    pub(super) async fn one_ends(&mut self) -> Ended {
        match self.tasks.join_next_with_id().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    pub(super) async fn all_end(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended).await;
        }
    }

    /// Takes notice of those that have come to their end.
    async fn tidy(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended).await;
        }
    }

    pub(super) async fn ended(&mut self, ended: Ended) {
        let (task, broken) = match ended {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        let found = self
            .under_way
            .iter()
            .find(|(_, under_way)| under_way.task == task);
        let Some(name) = found.map(|(name, _)| name.clone()) else {
            return;
        };
        let under_way = self.under_way.remove(&name);
        if let (Some(error), Some(under_way)) = (broken, under_way) {
            tracing::error!(schedule = name, %error, "the start of a run broke off");
            let outcome = broke_off(&under_way.schedule);
            self.memory.ran(name, under_way.due, under_way.by, outcome).await;
        }
    }
}

/// It is not known what was started, and that is what is said of each machine.
fn broke_off(schedule: &Schedule) -> Outcome {
    let why = "the start broke off by a fault of this program; look whether a job began".to_owned();
    let fate = VmFate::Refused { why };
    let of_each = schedule.what.iter().map(|selection| Begun::all(selection, &fate));
    Outcome::Begun {
        selections: of_each.collect(),
    }
}
