//! The commands of the API: which there are, whose they are, and whom they act upon.

mod attach;
mod capability;
mod detach;
mod job;
mod offering;
mod resize;
mod snapshot;
mod tag;
mod virtual_machine;
mod vm_snapshot;
mod volume;
mod volume_list;

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::account::{Role, User};
use super::cloud::{Call, Cloud};
use super::refusal::Refusal;
use super::state::State;
use super::view::Viewer;
use super::wire::Params;

/// A command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    audience: Audience,
    run: fn(&Arc<Cloud>, &Call) -> Result<Value, Refusal>,
}

/// What a command does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads.
    Read,
    /// It changes something, and answers when that is done.
    Change,
    /// It changes something in a job.
    Job,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everybody,
    Administrators,
}

const fn command(
    name: &'static str,
    kind: Kind,
    run: fn(&Arc<Cloud>, &Call) -> Result<Value, Refusal>,
) -> Command {
    Command {
        name,
        kind,
        audience: Audience::Everybody,
        run,
    }
}

const COMMANDS: &[Command] = &[
    command("listCapabilities", Kind::Read, capability::list),
    command("listApis", Kind::Read, capability::apis),
    command("listZones", Kind::Read, offering::zones),
    command("listDiskOfferings", Kind::Read, offering::disk_offerings),
    Command {
        name: "listHypervisorCapabilities",
        kind: Kind::Read,
        audience: Audience::Administrators,
        run: capability::hypervisors,
    },
    command("listVirtualMachines", Kind::Read, virtual_machine::list),
    command("startVirtualMachine", Kind::Job, virtual_machine::start),
    command("stopVirtualMachine", Kind::Job, virtual_machine::stop),
    command("listVolumes", Kind::Read, volume_list::list),
    command("createVolume", Kind::Job, volume::create),
    command("deleteVolume", Kind::Change, volume::delete),
    command("destroyVolume", Kind::Job, volume::destroy),
    command("recoverVolume", Kind::Change, volume::recover),
    command("updateVolume", Kind::Job, volume::update),
    command("attachVolume", Kind::Job, attach::attach),
    command("detachVolume", Kind::Job, detach::detach),
    command("resizeVolume", Kind::Job, resize::resize),
    command("createSnapshot", Kind::Job, snapshot::create),
    command("listSnapshots", Kind::Read, snapshot::list),
    command("deleteSnapshot", Kind::Job, snapshot::delete),
    command("revertSnapshot", Kind::Job, snapshot::revert),
    command("createVMSnapshot", Kind::Job, vm_snapshot::create),
    command("listVMSnapshot", Kind::Read, vm_snapshot::list),
    command("deleteVMSnapshot", Kind::Job, vm_snapshot::delete),
    command("createTags", Kind::Job, tag::create),
    command("deleteTags", Kind::Job, tag::delete),
    command("listTags", Kind::Read, tag::list),
    command("queryAsyncJobResult", Kind::Read, job::query),
    command("listAsyncJobs", Kind::Read, job::list),
];

/// The command of this name, in exactly this spelling.
pub(super) fn named(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    pub(super) fn run(&self, cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
        (self.run)(cloud, call)
    }

    /// Whether a user's role lets this pass.
    pub(super) fn is_permitted(&self, user: &User) -> bool {
        match &user.role {
            Role::Admin => true,
            Role::User => self.audience == Audience::Everybody,
            Role::Limited(calls) => self.audience == Audience::Everybody && calls.contains(self.name),
        }
    }

    /// The key of the answer's envelope.
    pub(super) fn response_name(&self) -> String {
        format!("{}response", self.name.to_lowercase())
    }
}

impl Call {
    fn viewer(&self) -> Viewer {
        if self.user.is_admin() {
            Viewer::Admin
        } else {
            Viewer::User
        }
    }
}

/// Whose things a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everybodys,
    Of(Uuid),
}

impl Scope {
    fn of(call: &Call, state: &State) -> Result<Self, Refusal> {
        if let Some(project) = call.params.id("projectid")? {
            let account = state
                .project(project)
                .ok_or_else(|| unknown(&call.params, "projectid"))?;
            return Ok(Self::Of(account.id));
        }
        let asks_for_all = call.params.is_true("listall") || call.params.get("id").is_some();
        if call.user.is_admin() && asks_for_all {
            return Ok(Self::Everybodys);
        }
        Ok(Self::Of(call.user.account))
    }

    fn shows(self, owner: Uuid) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Of(account) => account == owner,
        }
    }
}

fn unknown(params: &Params, name: &str) -> Refusal {
    Refusal::unknown(name, params.get(name).unwrap_or_default())
}

/// The volume that a parameter names, provided that the caller may act upon it. Removed ones are found too.
fn volume_to_change(state: &State, call: &Call, name: &str) -> Result<Uuid, Refusal> {
    let id = call.params.required_id(name)?;
    let volume = state.volumes.get(id).ok_or_else(|| unknown(&call.params, name))?;
    may_change(state, &call.user, volume.account)?;
    Ok(id)
}

/// Users act upon what is their account's, or one of their projects'.
fn may_change(state: &State, user: &User, owner: Uuid) -> Result<(), Refusal> {
    let is_project = state
        .account(owner)
        .is_some_and(|account| account.project.is_some());
    if user.is_admin() || user.account == owner || is_project {
        return Ok(());
    }
    let name = state.account(user.account).map_or("?", |account| &account.name);
    Err(Refusal::denied(format!(
        "Acct[{}-{name}] does not have permission to operate with resource",
        user.account
    )))
}

/// The answer to a call that started a job.
fn started(job: Uuid) -> Value {
    serde_json::json!({"jobid": job})
}

/// The result of what has nothing else to tell.
fn success() -> Value {
    serde_json::json!({"success": true})
}
