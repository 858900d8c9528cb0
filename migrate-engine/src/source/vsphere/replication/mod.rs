//! A vCenter or a host as a source of replications: each cycle reads what one snapshot froze.
//!
//! The order of a cycle: the machine as it is now → what earlier cycles of ours left is removed → tracking is on, and in
//! effect → a snapshot, of which only one of ours is ever there → its disks with their change ids → the reads → its
//! removal. With no other snapshot in the way, what a snapshot froze is always the lowest, flat file of a disk. Only VMware's own
//! library reads disks with snapshots of others below ours.

mod failure;
mod frozen;
mod judge;
mod spec;

use async_trait::async_trait;

use super::{
    Credentials, Enabled, Endpoint, Machine, Patience, Query, Quiesce, Reference, RequestLimit, Session,
    SnapshotNode, SnapshotRequest, Trust, Vddk, VsphereError,
};
use crate::model::MachineSpec;
use crate::source::{Cycle, Frozen, Source, SourceFailure, Wanted};
use frozen::{FrozenMachine, Tracking};
use judge::{Way, free_of_others, only_snapshots, readable};

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
    /// Reads the disks in the place of the host's web server, where it is there.
    vddk: Option<Vddk>,
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
            vddk: None,
        })
    }

    /// The same, with snapshots for which the guest's file systems are brought to rest.
    #[must_use]
    pub fn quiescing(self, quiesce: Quiesce) -> Self {
        Self { quiesce, ..self }
    }

    /// The same, with disks read through VMware's own library: also those of which there is no flat file, and those of machines
    /// with snapshots of others. Whether the library is there is seen at each freeze, before anything is changed.
    #[must_use]
    pub fn reading_through(self, vddk: Vddk) -> Self {
        Self {
            vddk: Some(vddk),
            ..self
        }
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

    /// What a snapshot of ours holds.
    async fn frozen(&self, machine: &Machine, snapshot: &Reference) -> Result<FrozenMachine, VsphereError> {
        let disks = self.session.snapshot_disks(snapshot).await?.disks;
        let tracking = match self.way() {
            Way::Files => Tracking::Believed,
            // Asked after ours was made: one that came meanwhile is below it.
            Way::Library => {
                let tree = self.session.snapshots(&machine.reference()).await?;
                match SnapshotNode::walk(&tree)
                    .iter()
                    .all(|node| node.id == snapshot.id)
                {
                    true => Tracking::Believed,
                    false => Tracking::Doubted,
                }
            }
        };
        Ok(FrozenMachine::new(
            self,
            machine,
            snapshot.clone(),
            disks,
            tracking,
        ))
    }

    fn way(&self) -> Way {
        match self.vddk {
            None => Way::Files,
            Some(_) => Way::Library,
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
        let way = self.way();
        Ok(found
            .machines
            .iter()
            .map(|machine| spec::of(machine, way))
            .collect())
    }

    async fn machine(&self, wanted: &str, datacenter: Option<&str>) -> Result<MachineSpec, SourceFailure> {
        let machine = self.find(wanted, datacenter).await?;
        readable(&machine, self.way())?;
        Ok(spec::of(&machine, self.way()))
    }

    async fn freeze(&self, machine: &MachineSpec, cycle: &Cycle) -> Result<Box<dyn Frozen>, SourceFailure> {
        if let Some(vddk) = &self.vddk {
            vddk.check().await?;
        }
        let request = self.request(format!("{PREFIX}{}", cycle.name), &cycle.owner);
        let found = self.find(&machine.id, None).await?;
        let removed = self.remove_old(&found, &cycle.owner, Some(&request.name)).await;
        // Whatever was in the way: snapshots of ours may be left.
        removed.map_err(|failure| failure.unknown_if(true))?;
        let found = self.find(&machine.id, None).await?;
        readable(&found, self.way())?;
        free_of_others(&found, &cycle.owner)?;
        only_snapshots(&found, self.way(), |node| {
            (&node.name, &node.description) == (&request.name, &request.description)
        })?;
        // With our own snapshot there, tracking was seen to before.
        if found.all_snapshots().is_empty() {
            self.track(&found, &cycle.owner).await?;
        }
        let reference = found.reference();
        let snapshot = self.session.create_snapshot(&reference, &request).await?;
        match self.frozen(&found, &snapshot).await {
            Ok(frozen) => Ok(Box::new(frozen)),
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
