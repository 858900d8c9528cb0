//! A source that a worker stands beside, as a source.

use async_trait::async_trait;

use super::super::wire::{Answer, Ask, Call};
use super::frozen::RemoteFrozen;
use super::{Hub, new_call};
use crate::model::MachineSpec;
use crate::source::{Category, Cycle, Frozen, Source, SourceFailure, Wanted};

/// A source, reached through a worker.
pub struct RemoteSource {
    hub: Hub,
    worker: String,
    host: String,
}

impl RemoteSource {
    /// The source that the file of sources of `worker` calls `host`.
    #[must_use]
    pub fn new(hub: Hub, worker: String, host: String) -> Self {
        Self { hub, worker, host }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, SourceFailure> {
        self.call(new_call(&self.host, ask)).await
    }

    async fn call(&self, call: Call) -> Result<Answer, SourceFailure> {
        self.hub.call(&self.worker, call, None).await
    }
}

#[async_trait]
impl Source for RemoteSource {
    fn place(&self) -> String {
        format!("{} (through worker `{}`)", self.host, self.worker)
    }

    async fn machines(&self, wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        match self.ask(Ask::Machines(wanted.clone())).await? {
            Answer::Machines(machines) => Ok(machines),
            _ => Err(astray(&self.worker)),
        }
    }

    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        let ask = Ask::Machine {
            wanted: wanted.to_owned(),
            datacenter: datacenter.map(str::to_owned),
        };
        match self.ask(ask).await? {
            Answer::Machine(machine) => Ok(*machine),
            _ => Err(astray(&self.worker)),
        }
    }

    async fn freeze(&self, machine: &MachineSpec, cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        let ask = Ask::Freeze {
            machine: Box::new(machine.clone()),
            cycle: cycle.clone(),
        };
        let mut call = new_call(&self.host, ask);
        call.job = Some(cycle.name.clone());
        // Lets go of it also where nobody waits for the answer any more.
        let frozen = RemoteFrozen::begin(self.hub.clone(), &self.worker, &call);
        match self.call(call).await? {
            Answer::Frozen(disks) => Ok(Box::new(frozen.of(disks))),
            _ => Err(astray(&self.worker)),
        }
    }

    async fn clean_up(&self, machine: &MachineSpec, owner: &str) -> Result<(), SourceFailure> {
        let ask = Ask::CleanUp {
            machine: Box::new(machine.clone()),
            owner: owner.to_owned(),
        };
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            _ => Err(astray(&self.worker)),
        }
    }
}

/// An answer to another question.
pub(super) fn astray(worker: &str) -> SourceFailure {
    let why =
        format!("worker `{worker}` answers what it was not asked: install the same release on both sides");
    SourceFailure::new(Category::Other, why)
}
