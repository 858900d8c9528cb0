//! The simulated cloud: volumes, jobs under ids that the caller chose, faults that are armed, and a ledger of broken rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use volumed::cloud::{ProviderSnapshot, ProviderState, ProviderVolume};
use volumed::model::{Bytes, Identity};

use crate::kernel::{Content, NewDisk};
use crate::world::{Due, State};

pub(crate) const OWN_VM: &str = "vm-own";
pub(crate) const OTHER_VM: &str = "vm-other";
/// So long after it was made a call can land: a little less than what is promised.
pub(crate) const LIFETIME: Duration = Duration::from_secs(55);
/// So long a list may show what was before the latest change.
const STALE_FOR: Duration = Duration::from_millis(300);
/// What the daemon did not know yet it cannot be blamed for.
const GRACE: Duration = Duration::from_secs(12);

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
    worked_on: Option<Duration>,
    pub(crate) snapshots: Vec<ProviderSnapshot>,
    pub(crate) changed: Duration,
    before: Option<(ProviderVolume, Duration)>,
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
    made: u64,
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
        }
    }
}

impl State {
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

    fn judge(&mut self, id: &str, volume: &str, order: &Order, now: Duration) {
        let live = |job: &&Job| {
            job.volume == volume
                && match job.stage {
                    Stage::Travelling => now < job.made + LIFETIME,
                    Stage::Running => true,
                    Stage::Ended(_) => false,
                }
        };
        if let Some(job) = self.cloud.jobs.values().find(live) {
            let text = format!(
                "{order:?} {volume} was sent while {:?} may land or is being done",
                job.order
            );
            self.violated(text);
        }
        if self.cloud.jobs.contains_key(id) {
            self.violated(format!("call id {id} was used twice"));
        }
        let disk = self.kernel.of_volume(volume);
        let is_here = disk.is_some_and(|disk| now > disk.since + GRACE);
        let is_used = disk.is_some_and(|disk| disk.opened.is_some_and(|since| now > since + GRACE));
        let Some(known) = self.cloud.volumes.get(volume) else {
            return;
        };
        let is_settled = now > known.changed + GRACE;
        let is_own = known.attached.as_deref() == Some(OWN_VM);
        let is_worked_on = known.worked_on.is_some_and(|since| now > since + GRACE);
        let broken = match order {
            _ if is_worked_on => Some("the cloud is at work on"),
            Order::Attach(_) if is_settled && is_own => Some("is attached already"),
            Order::Attach(_) if is_here && !is_own => Some("is plugged in, though detached"),
            Order::Detach(_) if is_settled && known.attached.is_none() => Some("is detached already"),
            Order::Detach(_) if is_used => Some("is in use"),
            Order::Delete | Order::Revert(_) if is_here => Some("is plugged in here"),
            Order::Delete if self.cloud.born.contains(volume) && !self.cloud.condemned.contains(volume) => {
                Some("was never ordered to be deleted")
            }
            _ => None,
        };
        if let Some(broken) = broken {
            self.violated(format!("{order:?} was sent for {volume}, which {broken}"));
        }
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

    fn carry_out(&mut self, job: &Job) -> Result<(), Refusal> {
        let name = job.volume.as_str();
        if let Order::Create(size) = job.order {
            return self.make(name, size);
        }
        let gone_is_fine = matches!(job.order, Order::Delete | Order::DropSnapshot(_));
        let Some(volume) = self.cloud.volumes.get_mut(name) else {
            return if gone_is_fine {
                Ok(())
            } else {
                Err(Refusal::NotFound)
            };
        };
        match &job.order {
            Order::Create(_) => {}
            Order::Attach(vm) => return self.attach(name, vm, job.fault),
            Order::Detach(vm) => return self.detach(name, vm, job.fault),
            Order::Resize(size) if *size < volume.size => return Err(Refusal::Refused),
            Order::Resize(size) => {
                volume.size = *size;
                self.grow(name, *size);
            }
            Order::Delete => {
                if volume.attached.is_some() || !volume.snapshots.is_empty() {
                    return Err(Refusal::Conflict);
                }
                self.cloud.volumes.remove(name);
            }
            Order::TakeSnapshot(snapshot) => {
                let (size, ready) = (volume.size, true);
                if !volume.snapshots.iter().any(|s| s.name == *snapshot) {
                    volume.snapshots.push(ProviderSnapshot {
                        snapshot_ref: format!("snap-{snapshot}"),
                        name: snapshot.clone(),
                        size,
                        ready,
                    });
                }
            }
            Order::Revert(snapshot) => {
                if volume.attached.is_some() {
                    return Err(Refusal::Conflict);
                }
                let found = volume.snapshots.iter().find(|s| s.snapshot_ref == *snapshot);
                volume.size = found.ok_or(Refusal::NotFound)?.size;
            }
            Order::DropSnapshot(snapshot) => volume.snapshots.retain(|s| s.snapshot_ref != *snapshot),
        }
        if job.fault == Some(Fault::FailedButDone) {
            return Err(Refusal::Unknown);
        }
        Ok(())
    }

    fn make(&mut self, name: &str, size: Bytes) -> Result<(), Refusal> {
        self.cloud.made += 1;
        let made = self.cloud.made;
        let now = self.elapsed();
        self.cloud.volumes.entry(name.to_owned()).or_insert(SimVolume {
            reference: format!("ref-{made}"),
            size,
            serial: format!("{made:020x}"),
            attached: None,
            mark: 0,
            busy: None,
            worked_on: None,
            snapshots: Vec::new(),
            changed: now,
            before: None,
        });
        Ok(())
    }

    fn attach(&mut self, name: &str, vm: &str, fault: Option<Fault>) -> Result<(), Refusal> {
        match self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref()) {
            Some(attached) if attached == vm => return Ok(()),
            Some(_) => return Err(Refusal::Elsewhere),
            None if self.kernel.of_volume(name).is_some() => return Err(Refusal::Conflict),
            None => {}
        }
        if fault == Some(Fault::Phantom) {
            self.plug_volume(name);
            return Err(Refusal::Unknown);
        }
        self.set_attached(name, Some(vm));
        match fault {
            Some(Fault::LateDisk) => {
                let late = self.chance.millis(500, 9000);
                self.plan(late, Due::Plug(name.to_owned()));
            }
            _ => self.plug_volume(name),
        }
        match fault {
            Some(Fault::FailedButDone) => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    fn detach(&mut self, name: &str, vm: &str, fault: Option<Fault>) -> Result<(), Refusal> {
        match self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref()) {
            None => return Ok(()),
            Some(attached) if attached != vm => return Err(Refusal::Elsewhere),
            Some(_) => {}
        }
        if fault == Some(Fault::LateUnplug) {
            let late = self.chance.millis(1000, 20_000);
            self.unplug_volume(name, late);
            return Err(Refusal::Unknown);
        }
        self.set_attached(name, None);
        self.unplug_volume(name, Duration::ZERO);
        match fault {
            Some(Fault::FailedButDone) => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    /// Plugs the volume's disk in, unless it is: whoever wanted it may have changed his mind meanwhile.
    pub(crate) fn plug_volume(&mut self, name: &str) {
        let Some(volume) = self.cloud.volumes.get(name).cloned() else {
            return;
        };
        if self.kernel.of_volume(name).is_none() {
            self.plug(NewDisk {
                size: volume.size,
                serial: Some(volume.serial),
                content: Content::Volume(name.to_owned()),
            });
        }
    }

    /// A stranger has the cloud at work on the volume.
    pub(crate) fn work(&mut self, name: &str, takes: Duration) {
        let now = self.elapsed();
        self.tell(format!("stranger: work on {name} for {takes:?}"));
        if let Some(volume) = self.cloud.volumes.get_mut(name) {
            volume.busy = Some("a stranger's snapshot".into());
            volume.worked_on = Some(now);
            self.plan(takes, Due::Rest(name.to_owned()));
        }
    }

    pub(crate) fn rest(&mut self, name: &str) {
        if let Some(volume) = self.cloud.volumes.get_mut(name) {
            volume.busy = None;
            volume.worked_on = None;
        }
    }

    /// The disk of an attach comes late, where it is still wanted.
    pub(crate) fn plug_late(&mut self, name: &str) {
        let attached = self.cloud.volumes.get(name).and_then(|v| v.attached.as_deref());
        if attached == Some(OWN_VM) {
            self.plug_volume(name);
        }
    }

    fn grow(&mut self, name: &str, size: Bytes) {
        if let Some(seq) = self.kernel.of_volume(name).map(|disk| disk.seq)
            && let Some(disk) = self.kernel.disk_mut(seq)
        {
            disk.size = size;
            self.changed();
        }
    }
}
