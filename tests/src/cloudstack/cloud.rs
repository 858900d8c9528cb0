//! The management server itself, without its wire: who may call what, the jobs, and what a restart does to them.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use uuid::Uuid;

use super::account::{Role, User};
use super::clock::Clock;
use super::fault::{Drawn, Faults};
use super::job::{Job, JobState};
use super::ledger::Violation;
use super::refusal::Refusal;
use super::settings::{JobIds, Service, Setup};
use super::state::State;
use super::storage::Storage;
use super::vm::Vm;
use super::volume::{Attachment, GIB, Volume, VolumeState};
use super::wire::{Params, lower_case_uuid};
use super::work::Work;

/// The things that never change.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) zone: Uuid,
    pub(super) domain: Uuid,
    pub(super) custom_offering: Uuid,
    pub(super) fixed_offering: Uuid,
    pub(super) pool: Uuid,
    pub(super) project: Uuid,
}

/// The management server.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) places: Places,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) storage: Storage,
    state: Mutex<State>,
}

/// A call that was let in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) command: &'static str,
    pub(super) params: Params,
    pub(super) user: User,
    pub(super) faults: Drawn,
    pub(super) origin: Origin,
}

/// Where a call comes from, for the ledger's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The client that is watched.
    Client,
    /// The network, which delivered a request a second time.
    Network,
    /// Somebody in the user interface.
    Stranger,
}

impl Cloud {
    pub(super) fn new(setup: &Setup) -> std::io::Result<Self> {
        let id = Uuid::new_v4;
        let places = Places {
            zone: id(),
            domain: id(),
            custom_offering: id(),
            fixed_offering: id(),
            pool: id(),
            project: id(),
        };
        let mut state = State::new(setup.settings.clone());
        let owner = state.add_account("mig", None, Role::User);
        state.add_account("other", None, Role::User);
        state.add_account("admin", None, Role::Admin);
        state.add_account("PrjAcct-moves-1", Some(places.project), Role::User);
        let cloud = Self {
            places,
            clock: Clock::default(),
            faults: Faults::default(),
            storage: Storage::at(setup.storage.clone())?,
            state: Mutex::new(state),
        };
        let mut vm = Vm::new("mig-appliance", owner.account, Arc::clone(&setup.hypervisor));
        vm.id = setup.vm.unwrap_or(vm.id);
        cloud.add_vm(vm);
        Ok(cloud)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds a running VM with its root disk, which is on no storage of ours.
    pub(super) fn add_vm(&self, vm: Vm) {
        let now = self.clock.now();
        let root = Volume {
            id: Uuid::new_v4(),
            name: format!("ROOT-{}", vm.name),
            account: vm.account,
            is_root: true,
            state: VolumeState::Ready,
            offering: None,
            size: 8 * GIB,
            attachment: Some(Attachment {
                vm: vm.id,
                device_id: 0,
                since: now,
            }),
            created: now,
            tags: [].into(),
            removed: false,
        };
        let mut state = self.state();
        state.volumes.insert(root);
        state.vms.insert(vm.id, vm);
    }

    pub(super) fn file(&self, volume: Uuid) -> PathBuf {
        self.storage.file(volume)
    }

    /// Takes a job: from here on it exists, whatever becomes of the answer.
    pub(super) fn submit<F>(
        self: &Arc<Self>,
        call: &Call,
        (instance_type, instance): (&'static str, Uuid),
        work: impl FnOnce(Work) -> F,
    ) -> Result<Uuid, Refusal>
    where
        F: Future<Output = Result<Value, Refusal>> + Send + 'static,
    {
        let mut state = self.state();
        if state.settings.service == Service::Maintenance {
            return Err(Refusal::maintenance());
        }
        let id = job_id(&state, &call.params)?;
        if instance_type == "Volume" {
            watch_for_living_job(&mut state, call, instance);
        }
        state.jobs.push(Job {
            id,
            command: call.command,
            account: call.user.account,
            user: call.user.id,
            instance_type,
            instance,
            state: JobState::Pending,
            created: self.clock.now(),
            completed: None,
            by_stranger: call.origin == Origin::Stranger,
            expunged: false,
        });
        let life = state.life;
        drop(state);
        let running = Work {
            cloud: Arc::clone(self),
            life,
            job: id,
            faults: call.faults.clone(),
        };
        let future = work(running.clone());
        tokio::spawn(async move { running.finish(future.await) });
        Ok(id)
    }

    /// Restarts the management server.
    pub(super) fn restart(&self) {
        self.state().restart(self.clock.now());
    }
}

/// Notes where a client starts something for a volume while a job of its own lives.
pub(super) fn watch_for_living_job(state: &mut State, call: &Call, volume: Uuid) {
    if call.origin != Origin::Client {
        return;
    }
    let Some(living) = state
        .pending_job(volume)
        .filter(|job| !job.by_stranger)
        .map(|job| job.command)
    else {
        return;
    };
    state.ledger.violated(Violation::TwoLiveJobs {
        volume,
        living: living.to_owned(),
        second: call.command.to_owned(),
    });
}

/// The id of a new job: the caller's where one is given and known here.
fn job_id(state: &State, params: &Params) -> Result<Uuid, Refusal> {
    let Some(given) = params
        .get("customjobid")
        .filter(|_| state.settings.job_ids == JobIds::OfTheCaller)
    else {
        return Ok(Uuid::new_v4());
    };
    let Some(id) = lower_case_uuid(given) else {
        return Err(Refusal::invalid(format!(
            "UUID: {given} is not formatted as UUID"
        )));
    };
    match state.jobs.iter().find(|job| job.id == id) {
        None => Ok(id),
        Some(job) if job.is_pending() => Err(Refusal::invalid(format!(
            "UUID: {id} already exists so can't create/update with custom id"
        ))),
        // The look-up leaves finished jobs out; the unique key of the table does not.
        Some(_) => Err(Refusal::runtime(format!("Duplicate entry '{id}' for key 'uuid'"))),
    }
}
