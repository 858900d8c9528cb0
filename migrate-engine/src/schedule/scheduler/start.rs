//! The starts that are under way: one for each schedule, beside one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};

use super::super::{Begun, Memory, Outcome, Schedule, Starter};
use super::record;

/// The starts that are under way. Dropping it breaks them off.
pub(super) struct Starts {
    starter: Arc<dyn Starter>,
    memory: Arc<dyn Memory>,
    tasks: JoinSet<()>,
    under_way: BTreeMap<String, UnderWay>,
}

/// How a start came to its end.
pub(super) type Ended = Result<(Id, ()), JoinError>;

struct UnderWay {
    task: Id,
    schedule: Arc<Schedule>,
    due: Timestamp,
}

impl Starts {
    pub(super) fn new(starter: Arc<dyn Starter>, memory: Arc<dyn Memory>) -> Self {
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
            return record(&self.memory, name, due, Outcome::SkippedWhileStarting { earlier }).await;
        }
        tracing::info!(schedule = name, %due, "a run begins");
        let schedule = Arc::new(schedule);
        let start = start(
            Arc::clone(&self.starter),
            Arc::clone(&self.memory),
            Arc::clone(&schedule),
            due,
        );
        let task = self.tasks.spawn(start).id();
        self.under_way.insert(name, UnderWay { task, schedule, due });
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
            record(&self.memory, name, under_way.due, broke_off(&under_way.schedule)).await;
        }
    }
}

/// It is not known what was started, and that is what is said of each selection.
fn broke_off(schedule: &Schedule) -> Outcome {
    let why = "the start broke off by a fault of this program; look whether a job began";
    let begun = schedule.what.iter().map(|selection| Begun {
        selection: selection.clone(),
        job: Err(why.to_owned()),
    });
    Outcome::Begun(begun.collect())
}

async fn start(starter: Arc<dyn Starter>, memory: Arc<dyn Memory>, schedule: Arc<Schedule>, due: Timestamp) {
    let mut begun = Vec::new();
    for selection in &schedule.what {
        let job = starter.start(&schedule.name, selection).await;
        let (name, host) = (&schedule.name, &selection.vcenter_host);
        match &job {
            Ok(job) => tracing::info!(schedule = name, vcenter_host = host, job, "started"),
            Err(error) => tracing::error!(schedule = name, vcenter_host = host, error, "cannot be started"),
        }
        begun.push(Begun {
            selection: selection.clone(),
            job,
        });
    }
    record(&memory, schedule.name.clone(), due, Outcome::Begun(begun)).await;
}
