//! Making, reading and removing snapshots.

use tracing::{info, warn};

use super::super::inventory::{Disk, Places, disks};
use super::super::properties::{Object, Of, Select};
use super::super::reference::Reference;
use super::super::soap::{Call, Xml};
use super::super::{Session, VsphereError};
use super::SnapshotNode;

const MAKE: &str = "the snapshot's creation";
const REMOVE: &str = "the snapshot's removal";
/// How the names begin that vCenters give to tasks that make a snapshot (there is a `createSnapshotEx`, too).
const MAKING: &str = "VirtualMachine.createSnapshot";

/// Whether the guest's file systems are brought to rest for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiesce {
    /// By VMware's tools in the guest; the snapshot fails where they do not run.
    Guest,
    /// Not at all: as after a power failure.
    No,
}

/// The snapshot to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Its name: with [`Self::description`], unique to one cycle.
    pub name: String,
    /// Whose it is.
    pub description: String,
    /// Whether the guest's file systems are brought to rest.
    pub quiesce: Quiesce,
}

/// What a snapshot froze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDisks {
    /// The snapshot.
    pub snapshot: Reference,
    /// Its disks: their paths are those of the frozen links, their change ids those to go on from next time.
    pub disks: Vec<Disk>,
}

impl Session {
    /// Makes a snapshot of the disks, without memory. Where one of this name and description is there, or is being made,
    /// it is that one: so this may be repeated after any error, and by another process. While somebody else's snapshot
    /// of the machine is being made, it waits.
    ///
    /// # Errors
    /// [`VsphereError::TaskFailed`] (no room on the datastore, no tools to bring the guest to rest, ...), or what
    /// [`VsphereError::is_unknown`]: then it may come into being yet; ask again.
    pub async fn create_snapshot(
        &self,
        machine: &Reference,
        request: &SnapshotRequest,
    ) -> Result<Reference, VsphereError> {
        self.wait_for_others(machine).await?;
        if let Some(found) = self.find_snapshot(machine, request).await? {
            info!(endpoint = %self.endpoint(), machine = machine.id, snapshot = found.id, "the snapshot is there already");
            return Ok(found);
        }
        let arguments = Xml::new()
            .text("name", &request.name)
            .text("description", &request.description)
            .text("memory", "false")
            .text(
                "quiesce",
                if request.quiesce == Quiesce::Guest {
                    "true"
                } else {
                    "false"
                },
            );
        let call = Call::changing("CreateSnapshot_Task", machine, arguments);
        match self.run(&call, MAKE).await? {
            Some(snapshot) => Ok(snapshot),
            // Old hosts do not say which one it became.
            None => {
                let found = self.find_snapshot(machine, request).await?;
                found.ok_or_else(|| self.lacks("CreateSnapshot_Task", "snapshot"))
            }
        }
    }

    /// Removes a snapshot, not those on top of it, and puts the disks together again. Gone already is removed.
    ///
    /// # Errors
    /// [`VsphereError::TaskFailed`]; [`VsphereError::TaskUnknown`] for a consolidation that takes longer than our
    /// patience: it goes on, and this may be repeated.
    pub async fn remove_snapshot(&self, snapshot: &Reference) -> Result<(), VsphereError> {
        let arguments = Xml::new()
            .text("removeChildren", "false")
            .text("consolidate", "true");
        let call = Call::changing("RemoveSnapshot_Task", snapshot, arguments);
        let removed = match self.run(&call, REMOVE).await {
            Err(error) => match task_in_progress(&error) {
                // Perhaps our own removal, of which we did not see the end.
                Some(task) => {
                    info!(endpoint = %self.endpoint(), snapshot = snapshot.id, task = task.id, "waits for another task");
                    drop(self.wait(&task, REMOVE, self.patience().task).await);
                    self.run(&call, REMOVE).await
                }
                None => Err(error),
            },
            done => done,
        };
        match removed {
            Err(error) if is_gone(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The snapshots of a machine, as a tree.
    ///
    /// # Errors
    /// [`VsphereError::MachineNotFound`], or what keeps us from the vCenter.
    pub async fn snapshots(&self, machine: &Reference) -> Result<Vec<SnapshotNode>, VsphereError> {
        let object = self
            .machine_object(machine, Select::new("VirtualMachine", &["name", "snapshot"]))
            .await?;
        Ok(object.get("snapshot").map(SnapshotNode::tree).unwrap_or_default())
    }

    /// What a snapshot froze. Names of datastores are taken from the paths, their kinds are not told.
    ///
    /// # Errors
    /// [`VsphereError::SnapshotGone`], or what keeps us from the vCenter.
    pub async fn snapshot_disks(&self, snapshot: &Reference) -> Result<SnapshotDisks, VsphereError> {
        let gone = || VsphereError::SnapshotGone {
            snapshot: snapshot.id.clone(),
        };
        let select = Select::new("VirtualMachineSnapshot", &["config.hardware"]);
        let objects = match self
            .retrieve(Of::These(std::slice::from_ref(snapshot)), vec![select])
            .await
        {
            Err(error) if is_gone(&error) => return Err(gone()),
            other => other?,
        };
        let object = objects.first().ok_or_else(gone)?;
        let hardware = object
            .get("config.hardware")
            .ok_or_else(|| self.lacks("RetrievePropertiesEx", "hardware of the snapshot"))?;
        Ok(SnapshotDisks {
            snapshot: snapshot.clone(),
            disks: disks(hardware, &Places::default()),
        })
    }

    async fn find_snapshot(
        &self,
        machine: &Reference,
        request: &SnapshotRequest,
    ) -> Result<Option<Reference>, VsphereError> {
        let tree = self.snapshots(machine).await?;
        let found = SnapshotNode::walk(&tree)
            .into_iter()
            .find(|node| node.name == request.name && node.description == request.description);
        Ok(found.map(SnapshotNode::reference))
    }

    /// Waits until no snapshot of the machine is being made any more.
    pub(in super::super) async fn wait_for_others(&self, machine: &Reference) -> Result<(), VsphereError> {
        let select = Select::new("VirtualMachine", &["name", "recentTask"]);
        let object = self.machine_object(machine, select).await?;
        let tasks: Vec<Reference> = object
            .get("recentTask")
            .map(|tasks| tasks.children.iter().filter_map(Reference::of).collect())
            .unwrap_or_default();
        for task in self.making(&tasks).await? {
            warn!(endpoint = %self.endpoint(), machine = machine.id, task = task.id, "waits for a snapshot that is being made");
            match self.wait(&task, MAKE, self.patience().task).await {
                // How it ended is its maker's business; ours is what is there now.
                Ok(_) | Err(VsphereError::TaskFailed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Those of `tasks` that are making a snapshot. A task that the vCenter forgot meanwhile is making none.
    async fn making(&self, tasks: &[Reference]) -> Result<Vec<Reference>, VsphereError> {
        let mut making = Vec::new();
        for task in tasks {
            let select = Select::new("Task", &["info.descriptionId", "info.state"]);
            let of = Of::These(std::slice::from_ref(task));
            let objects = match self.retrieve(of, vec![select]).await {
                Err(error) if is_gone(&error) => continue,
                other => other?,
            };
            if objects.iter().any(is_making) {
                making.push(task.clone());
            }
        }
        Ok(making)
    }

    /// The selected properties of a machine, of which `name` is one: everybody has it.
    pub(in super::super) async fn machine_object(
        &self,
        machine: &Reference,
        select: Select,
    ) -> Result<Object, VsphereError> {
        let not_found = || VsphereError::MachineNotFound {
            endpoint: self.endpoint().to_string(),
            wanted: machine.id.clone(),
        };
        let of = Of::These(std::slice::from_ref(machine));
        match self.retrieve(of, vec![select]).await {
            Err(error) if is_gone(&error) => Err(not_found()),
            Err(error) => Err(error),
            Ok(objects) => objects.into_iter().next().ok_or_else(not_found),
        }
    }
}

fn is_making(task: &Object) -> bool {
    let is_running = matches!(task.text("info.state"), Some("running" | "queued"));
    is_running
        && task
            .text("info.descriptionId")
            .is_some_and(|id| id.starts_with(MAKING))
}

/// The task that keeps another one off.
fn task_in_progress(error: &VsphereError) -> Option<Reference> {
    let fault = error.fault().filter(|fault| fault.is("TaskInProgress"))?;
    fault.detail("task").map(|id| Reference::new("Task", id))
}

/// The object that was named is not there any more.
pub(in super::super) fn is_gone(error: &VsphereError) -> bool {
    error
        .fault()
        .is_some_and(|fault| fault.is("ManagedObjectNotFound") || fault.is("NotFound"))
}
