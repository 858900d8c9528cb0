//! A vCenter or a host as a source of replications: each cycle reads what one snapshot froze.
//!
//! The order of a cycle: the machine as it is now → what earlier cycles of ours left is removed → tracking is on, and in
//! effect → a snapshot, of which only one of ours is ever there → its disks with their change ids → the reads → its
//! removal. With no other snapshot in the way, what a snapshot froze is always the lowest, flat file of a disk.

mod failure;
mod frozen;
mod spec;

use async_trait::async_trait;

use super::{
    Credentials, Disk, Enabled, Endpoint, Machine, Patience, Query, Quiesce, RequestLimit, Session,
    SnapshotNode, SnapshotRequest, Trust, VsphereError,
};
use crate::model::MachineSpec;
use crate::source::{Category, Cycle, Frozen, Source, SourceFailure, Wanted};
use frozen::FrozenMachine;

/// How the names of all our snapshots begin.
const PREFIX: &str = "volumed ";
/// The name of the snapshot that only makes tracking take effect.
const STUN: &str = "volumed change tracking";

/// A vCenter or a host that we are logged in to. Dropped, it logs out.
pub struct VsphereSource {
    session: Session,
    quiesce: Quiesce,
    /// All disks that are read at once share them.
    requests: RequestLimit,
}

impl VsphereSource {
    /// Logs in.
    ///
    /// # Errors
    /// [`Category::Credentials`], [`Category::Trust`], [`Category::Unreachable`].
    pub async fn connect(
        endpoint: &Endpoint,
        trust: &Trust,
        credentials: Credentials,
        patience: Patience,
    ) -> Result<Self, SourceFailure> {
        let session = Session::login(endpoint, trust, credentials, patience).await?;
        Ok(Self {
            session,
            quiesce: Quiesce::No,
            requests: RequestLimit::default(),
        })
    }

    /// The same, with snapshots for which the guest's file systems are brought to rest.
    #[must_use]
    pub fn quiescing(self, quiesce: Quiesce) -> Self {
        Self { quiesce, ..self }
    }

    /// Logs out.
    pub async fn close(&self) {
        if let Err(error) = self.session.logout().await {
            tracing::debug!(%error, "a session could not be ended; the vCenter forgets it");
        }
    }

    async fn find(&self, wanted: &str, datacenter: Option<&str>) -> Result<Machine, SourceFailure> {
        let query = Query {
            machine: Some(wanted.to_owned()),
            datacenter: datacenter.map(str::to_owned),
        };
        let found = self.session.discover(&query).await?;
        Ok(found.machine(wanted)?.clone())
    }

    /// Removes the snapshots of `owner`, but for the one of this name; also one that is still being made, for somebody who gave
    /// up on it.
    async fn remove_old(
        &self,
        machine: &Machine,
        owner: &str,
        but: Option<&str>,
    ) -> Result<(), SourceFailure> {
        let reference = machine.reference();
        self.session.wait_for_others(&reference).await?;
        let tree = self.session.snapshots(&reference).await?;
        for node in SnapshotNode::owned(&tree, PREFIX, owner) {
            if but == Some(&*node.name) {
                continue;
            }
            tracing::info!(machine = %machine.path, snapshot = node.id, name = node.name, "removes what an earlier cycle left");
            self.session.remove_snapshot(&node.reference()).await?;
        }
        Ok(())
    }

    /// Turns tracking on, where the machine can, and makes it take effect.
    async fn track(&self, machine: &Machine, owner: &str) -> Result<(), SourceFailure> {
        match self.session.enable_change_tracking(machine).await {
            Ok(Enabled::Already | Enabled::Now) => Ok(()),
            Ok(Enabled::AfterSnapshot) => {
                // It is there for the standstill alone: nobody reads it.
                let request = SnapshotRequest {
                    quiesce: Quiesce::No,
                    ..self.request(STUN.to_owned(), owner)
                };
                let stun = self
                    .session
                    .create_snapshot(&machine.reference(), &request)
                    .await?;
                let removed = self.session.remove_snapshot(&stun).await;
                removed.map_err(|error| SourceFailure::from(error).unknown_if(true))
            }
            Err(error @ VsphereError::TrackingUnsupported { .. }) => {
                tracing::warn!(machine = %machine.path, %error, "every cycle reads the whole disks");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn request(&self, name: String, owner: &str) -> SnapshotRequest {
        SnapshotRequest {
            name,
            description: owner.to_owned(),
            quiesce: self.quiesce,
        }
    }
}

#[async_trait]
impl Source for VsphereSource {
    fn place(&self) -> String {
        self.session.endpoint().to_string()
    }

    async fn machines(&self, wanted: &Wanted) -> Result<Vec<MachineSpec>, SourceFailure> {
        let query = Query {
            machine: wanted.machine.clone(),
            datacenter: wanted.datacenter.clone(),
        };
        let found = self.session.discover(&query).await?;
        Ok(found.machines.iter().map(spec::of).collect())
    }

    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        let machine = self.find(wanted, datacenter).await?;
        readable(&machine)?;
        Ok(spec::of(&machine))
    }

    async fn freeze(&self, machine: &MachineSpec, cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        let request = self.request(format!("{PREFIX}{}", cycle.name), &cycle.owner);
        let found = self.find(&machine.id, None).await?;
        let removed = self.remove_old(&found, &cycle.owner, Some(&request.name)).await;
        // Whatever was in the way: snapshots of ours may be left.
        removed.map_err(|failure| failure.unknown_if(true))?;
        let found = self.find(&machine.id, None).await?;
        readable(&found)?;
        free_of_others(&found, &cycle.owner)?;
        only_snapshots(&found, |node| {
            (&node.name, &node.description) == (&request.name, &request.description)
        })?;
        // With our own snapshot there, tracking was seen to before.
        if found.all_snapshots().is_empty() {
            self.track(&found, &cycle.owner).await?;
        }
        let reference = found.reference();
        let snapshot = self.session.create_snapshot(&reference, &request).await?;
        match self.session.snapshot_disks(&snapshot).await {
            Ok(disks) => Ok(Box::new(FrozenMachine::new(self, &found, snapshot, disks.disks))),
            Err(error) => {
                let removed = self.session.remove_snapshot(&snapshot).await;
                if let Err(left) = &removed {
                    tracing::warn!(machine = %found.path, error = %left, "a snapshot stays; the next cycle removes it");
                }
                Err(SourceFailure::from(error).unknown_if(removed.is_err()))
            }
        }
    }

    async fn clean_up(&self, machine: &MachineSpec, owner: &str) -> Result<(), SourceFailure> {
        let found = self.find(&machine.id, None).await?;
        self.remove_old(&found, owner, None).await
    }
}

/// Whether the disks can be read as files, each with its size known, and nobody else's snapshot stands on them.
fn readable(machine: &Machine) -> Result<(), SourceFailure> {
    let disks = machine.copyable_disks()?;
    let problem = |disk: &Disk| Some((disk.label.clone(), disk.problem_as_file()?));
    if let Some((disk, problem)) = disks.iter().find_map(problem) {
        let error = VsphereError::Disk {
            machine: machine.path.clone(),
            disk,
            problem,
        };
        return Err(error.into());
    }
    only_snapshots(machine, |node| node.name.starts_with(PREFIX))
}

/// Whether no other engine replicates the machine: that passes.
fn free_of_others(machine: &Machine, owner: &str) -> Result<(), SourceFailure> {
    let all = machine.all_snapshots();
    let is_theirs = |node: &&&SnapshotNode| node.name.starts_with(PREFIX) && node.description != owner;
    match all.iter().find(is_theirs) {
        None => Ok(()),
        Some(theirs) => {
            let why = format!(
                "`{}` is being replicated by {}: wait for it, or remove the snapshot `{}` where that engine is gone",
                machine.path, theirs.description, theirs.name
            );
            Err(SourceFailure::new(Category::Other, why))
        }
    }
}

/// What is written under a snapshot that is none of `ours` does not lie in the files that we can read.
fn only_snapshots(machine: &Machine, ours: impl Fn(&SnapshotNode) -> bool) -> Result<(), SourceFailure> {
    let all = machine.all_snapshots();
    let strangers: Vec<String> = all
        .iter()
        .filter(|node| !ours(node))
        .map(|node| node.name.clone())
        .collect();
    if !strangers.is_empty() {
        let error = VsphereError::SnapshotsInTheWay {
            machine: machine.path.clone(),
            names: strangers,
        };
        return Err(error.into());
    }
    // Between a snapshot of ours and its removal, a consolidation may be due: that is ours to wait for.
    if machine.needs_consolidation && all.is_empty() {
        let why = format!(
            "the disks of `{}` need consolidation: do that in the vCenter first",
            machine.path
        );
        return Err(SourceFailure::new(Category::Refused, why));
    }
    Ok(())
}
