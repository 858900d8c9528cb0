//! The database of the management server: accounts, volumes, VMs, snapshots, jobs, and the ledger of what came in.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::account::{Account, Role, User};
use super::job::{Job, JobState};
use super::ledger::Ledger;
use super::refusal::Refusal;
use super::settings::{RateLimit, Settings};
use super::vm::Vm;
use super::volume::{Event, Volume};

/// A snapshot of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its UUID.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The volume it was taken of.
    pub volume: Uuid,
    /// The account that owns it.
    pub account: Uuid,
    /// The size of the volume in bytes.
    pub size: u64,
    /// `Allocated`, `Creating`, `BackedUp` or `Error`.
    pub state: &'static str,
    /// When it was asked for.
    pub created: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether the row is removed.
    pub removed: bool,
}

/// Volumes as they are, and as they were before the last change.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    now: BTreeMap<Uuid, Volume>,
    /// The row that was changed last, as it was: `None` where it was not there.
    last: Option<(Uuid, Option<Volume>)>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) accounts: Vec<Account>,
    pub(super) users: Vec<User>,
    pub(super) volumes: Volumes,
    pub(super) vms: BTreeMap<Uuid, Vm>,
    pub(super) snapshots: BTreeMap<Uuid, Snapshot>,
    pub(super) jobs: Vec<Job>,
    pub(super) ledger: Ledger,
    /// Which life of the management server this is. Work of an earlier life changes nothing here any more.
    pub(super) life: u64,
    /// Calls of the accounts in the running interval.
    calls: HashMap<Uuid, (Instant, u32)>,
}

impl Volumes {
    pub(super) fn get(&self, id: Uuid) -> Option<&Volume> {
        self.now.get(&id)
    }

    /// A row that must be there.
    pub(super) fn known(&self, id: Uuid) -> Result<&Volume, Refusal> {
        self.get(id).ok_or_else(|| no_volume(id))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Volume> {
        self.now.values()
    }

    pub(super) fn before(&self) -> impl Iterator<Item = &Volume> {
        self.now.values().filter_map(|volume| match &self.last {
            Some((id, before)) if *id == volume.id => before.as_ref(),
            _ => Some(volume),
        })
    }

    pub(super) fn insert(&mut self, volume: Volume) {
        let id = volume.id;
        self.last = Some((id, self.now.insert(id, volume)));
    }

    /// A row to change; it is remembered as it was.
    pub(super) fn edit(&mut self, id: Uuid) -> Result<&mut Volume, Refusal> {
        let row = self.now.get_mut(&id).ok_or_else(|| no_volume(id))?;
        self.last = Some((id, Some(row.clone())));
        Ok(row)
    }

    pub(super) fn attached_to(&self, vm: Uuid) -> impl Iterator<Item = &Volume> {
        self.all()
            .filter(move |volume| volume.attachment.is_some_and(|attachment| attachment.vm == vm))
    }
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            accounts: Vec::new(),
            users: Vec::new(),
            volumes: Volumes::default(),
            vms: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            jobs: Vec::new(),
            ledger: Ledger::default(),
            life: 0,
            calls: HashMap::new(),
        }
    }

    /// Adds an account and its first user.
    pub(super) fn add_account(&mut self, name: &str, project: Option<Uuid>, role: Role) -> User {
        let id = Uuid::new_v4();
        self.accounts.push(Account {
            id,
            name: name.to_owned(),
            project,
        });
        let user = User::new(id, role);
        self.users.push(user.clone());
        user
    }

    pub(super) fn account(&self, id: Uuid) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    pub(super) fn project(&self, id: Uuid) -> Option<&Account> {
        self.accounts.iter().find(|account| account.project == Some(id))
    }

    pub(super) fn vm(&mut self, id: Uuid) -> Result<&mut Vm, Refusal> {
        self.vms
            .get_mut(&id)
            .ok_or_else(|| Refusal::invalid("Please specify a valid User VM."))
    }

    /// Lets something happen to a volume, where its state allows that.
    pub(super) fn happen(&mut self, id: Uuid, event: Event) -> Result<&mut Volume, Refusal> {
        let volume = self.volumes.edit(id)?;
        let Some(next) = volume.state.after(event) else {
            return Err(Refusal::runtime(format!(
                "Volume: {id} is in {}. It should be in Ready or Allocated state",
                volume.state
            )));
        };
        volume.state = next;
        Ok(volume)
    }

    pub(super) fn job(&mut self, id: Uuid) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id && !job.expunged)
    }

    /// The job of a volume that has not ended.
    pub(super) fn pending_job(&self, volume: Uuid) -> Option<&Job> {
        self.jobs
            .iter()
            .rev()
            .find(|job| job.instance == volume && job.instance_type == "Volume" && job.is_pending())
    }

    /// The management server dies and comes back: jobs that ran are failed without a result, volumes under way are
    /// taken back, and no hypervisor is asked.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.life += 1;
        for job in self.jobs.iter_mut().filter(|job| job.is_pending()) {
            job.state = JobState::Failed {
                code: 530,
                result: None,
            };
            job.completed = Some(now);
        }
        let ids: Vec<_> = self.volumes.all().map(|volume| volume.id).collect();
        for id in ids {
            if let Ok(volume) = self.volumes.edit(id) {
                volume.state = volume.state.after_restart();
            }
        }
        for vm in self.vms.values_mut() {
            vm.queue = std::sync::Arc::default();
        }
    }

    /// Counts a call of the account; how long it must wait where there were too many.
    pub(super) fn throttle(&mut self, account: Uuid) -> Option<Duration> {
        let RateLimit {
            calls: most,
            interval,
        } = self.settings.rate_limit?;
        let (began, calls) = self.calls.entry(account).or_insert_with(|| (Instant::now(), 0));
        if began.elapsed() >= interval {
            (*began, *calls) = (Instant::now(), 0);
        }
        *calls += 1;
        (*calls > most).then(|| interval.saturating_sub(began.elapsed()))
    }
}

fn no_volume(id: Uuid) -> Refusal {
    Refusal::invalid(format!("Unable to find volume with ID: {id}"))
}
