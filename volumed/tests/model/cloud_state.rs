//! The simulated cloud: its volumes, its jobs under ids that the caller chose, and the faults that are armed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use volumed::cloud::{ProviderSnapshot, ProviderState, ProviderVolume};
use volumed::model::{Bytes, Identity, VolumeId};

use crate::world::{Due, State};

pub(crate) const OWN_VM: &str = "vm-own";
pub(crate) const OTHER_VM: &str = "vm-other";
/// So long after it was made a call can land: a little less than what is promised.
pub(crate) const LIFETIME: Duration = Duration::from_secs(55);
/// So long a list may show what was before the latest change.
const STALE_FOR: Duration = Duration::from_millis(300);

/// What one of the next calls meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is lost, the caller waits in vain.
    LostRequest,
    /// It is done, the answer is lost.
    LostAnswer,
    /// It lands up to its expiry later.
    Late,
    /// The job takes longer than the caller waits.
    Slow,
    Refused,
    Transient,
    Conflict,
    /// It is told as failed, and is done.
    FailedButDone,
    /// An attach plugs the disk in and says nothing of it in the records.
    Phantom,
    /// A detach fails, and the disk goes later all the same.
    LateUnplug,
    /// An attached disk shows late.
    LateDisk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Create(Bytes),
    Attach(String),
    Detach(String),
    Resize(Bytes),
    Delete,
    TakeSnapshot(String),
    Revert(String),
    DropSnapshot(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Travelling,
    Running,
    Ended(Result<(), Refusal>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Elsewhere,
    Conflict,
    Refused,
    Transient,
    /// A failure that tells nothing.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) volume: String,
    pub(crate) order: Order,
    pub(crate) made: Duration,
    pub(crate) stage: Stage,
    pub(crate) fault: Option<Fault>,
}

#[derive(Debug, Clone)]
pub(crate) struct SimVolume {
    pub(crate) reference: String,
    pub(crate) size: Bytes,
    pub(crate) serial: String,
    pub(crate) attached: Option<String>,
    pub(crate) mark: u64,
    pub(crate) busy: Option<String>,
    /// Since when a stranger has the cloud at work on it.
    pub(crate) worked_on: Option<Duration>,
    pub(crate) snapshots: Vec<ProviderSnapshot>,
    pub(crate) changed: Duration,
    pub(crate) before: Option<(ProviderVolume, Duration)>,
}

#[derive(Default)]
pub(crate) struct CloudState {
    /// By name.
    pub(crate) volumes: BTreeMap<String, SimVolume>,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) faults: VecDeque<Fault>,
    /// So many of the next readings fail.
    pub(crate) failing_reads: u32,
    /// Whether changes show late in lists.
    pub(crate) is_stale: bool,
    /// Volumes that clients were told of.
    pub(crate) born: BTreeSet<String>,
    /// Volumes whose deletion was ordered.
    pub(crate) condemned: BTreeSet<String>,
    pub(crate) made: u64,
}

impl SimVolume {
    fn shown(&self, name: &str) -> ProviderVolume {
        let state = self
            .busy
            .clone()
            .map_or(ProviderState::Ready, ProviderState::Busy);
        ProviderVolume {
            provider_ref: self.reference.clone(),
            name: name.to_owned(),
            size: self.size,
            state,
            attached_to: self.attached.clone(),
            attachment_mark: self.attached.as_ref().map(|_| self.mark.to_string()),
            identity: Some(Identity::Serial(self.serial.clone())),
            is_root: false,
        }
    }
}

impl State {
    /// The name that the cloud has a volume of ours under; `None` where it has none.
    pub(crate) fn name_of_ours(&self, id: VolumeId) -> Option<String> {
        let mut names = self.cloud.volumes.keys();
        names.find(|name| name.ends_with(&id.to_string())).cloned()
    }

    /// The volumes as a list shows them now, each with its name.
    pub(crate) fn listed(&self) -> Vec<ProviderVolume> {
        let now = self.elapsed();
        let shown = |(name, volume): (&String, &SimVolume)| match &volume.before {
            Some((before, until)) if now < *until => before.clone(),
            _ => volume.shown(name),
        };
        self.cloud.volumes.iter().map(shown).collect()
    }

    pub(crate) fn name_of(&self, reference: &str) -> Option<String> {
        let mut volumes = self.cloud.volumes.iter();
        Some(
            volumes
                .find(|(_, volume)| volume.reference == reference)?
                .0
                .clone(),
        )
    }

    /// Changes an attachment in the records, and notes what lists may still show.
    pub(crate) fn set_attached(&mut self, name: &str, to: Option<&str>) {
        let (now, is_stale) = (self.elapsed(), self.cloud.is_stale);
        self.cloud.made += 1;
        let mark = self.cloud.made;
        let Some(volume) = self.cloud.volumes.get_mut(name) else {
            return;
        };
        let before = volume.shown(name);
        volume.before = is_stale.then_some((before, now + STALE_FOR));
        volume.attached = to.map(str::to_owned);
        volume.mark = mark;
        volume.changed = now;
        self.tell(format!("cloud: {name} attached to {to:?}"));
    }

    /// A call sets out. Rules that it breaks are noted.
    pub(crate) fn send(&mut self, id: &str, volume: String, order: Order) {
        let now = self.elapsed();
        self.tell(format!("daemon: {order:?} {volume} as {id}"));
        self.judge(id, &volume, &order, now);
        let fault = self.fault_for(&order);
        let stage = match fault {
            Some(Fault::Refused) => Stage::Ended(Err(Refusal::Refused)),
            Some(Fault::Transient) => Stage::Ended(Err(Refusal::Transient)),
            Some(Fault::Conflict) => Stage::Ended(Err(Refusal::Conflict)),
            _ => Stage::Travelling,
        };
        if let Some(fault) = fault {
            self.tell(format!("cloud: {fault:?}"));
        }
        if stage == Stage::Travelling && fault != Some(Fault::LostRequest) {
            let after = match fault {
                Some(Fault::Late) => self.chance.millis(10_000, 54_000),
                _ => self.chance.millis(5, 200),
            };
            self.plan(after, Due::Land(id.to_owned()));
        }
        let job = Job {
            volume,
            order,
            made: now,
            stage,
            fault,
        };
        self.cloud.jobs.insert(id.to_owned(), job);
    }

    fn fault_for(&mut self, order: &Order) -> Option<Fault> {
        let fits = |fault: &Fault| match fault {
            Fault::Phantom | Fault::LateDisk => matches!(order, Order::Attach(_)),
            Fault::LateUnplug => matches!(order, Order::Detach(_)),
            _ => true,
        };
        let at = self.cloud.faults.iter().position(fits)?;
        self.cloud.faults.remove(at)
    }

    /// A call reaches the cloud, or is let out of the queue.
    pub(crate) fn land(&mut self, id: &str) {
        let Some(job) = self.cloud.jobs.get(id).cloned() else {
            return;
        };
        let now = self.elapsed();
        if job.stage == Stage::Travelling && now > job.made + LIFETIME {
            return;
        }
        let busy = self
            .cloud
            .volumes
            .get(&job.volume)
            .is_some_and(|v| v.busy.is_some());
        self.set_stage(id, Stage::Running);
        if busy {
            self.plan(Duration::from_millis(500), Due::Land(id.to_owned()));
            return;
        }
        let takes = match (job.fault, &job.order) {
            (Some(Fault::Slow), _) => self.chance.millis(15_000, 45_000),
            _ => self.chance.millis(50, 1500),
        };
        if let Some(volume) = self.cloud.volumes.get_mut(&job.volume) {
            volume.busy = Some(format!("job {id}"));
        }
        self.plan(takes, Due::EndJob(id.to_owned()));
    }

    fn set_stage(&mut self, id: &str, stage: Stage) {
        if let Some(job) = self.cloud.jobs.get_mut(id) {
            job.stage = stage;
        }
    }

    /// A job ends, well or badly.
    pub(crate) fn end_job(&mut self, id: &str) {
        let Some(job) = self.cloud.jobs.get(id).cloned() else {
            return;
        };
        if let Some(volume) = self.cloud.volumes.get_mut(&job.volume) {
            volume.busy = None;
        }
        let result = self.carry_out(&job);
        self.tell(format!(
            "cloud: {:?} of {} ended: {result:?}",
            job.order, job.volume
        ));
        self.set_stage(id, Stage::Ended(result));
    }
}
