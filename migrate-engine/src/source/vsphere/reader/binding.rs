//! The name of a snapshot's disk: what a journal is bound to.

use std::fmt;

use super::super::{ChangeId, Disk, Endpoint, Machine, Reference};

/// Names what a snapshot's disk holds, not only where it is: two that read the same have the same bytes, so that a copy
/// may go on where another one of it was interrupted. Its text is for comparing, and reads
/// `vsphere vc.example instance 5029.. disk 2000 uuid 6000C29.. snapshot snapshot-70 change 52 de ../81`.
///
/// There is none without a snapshot: a machine that is off may have been on in between.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceBinding {
    endpoint: Endpoint,
    machine: MachineName,
    key: i32,
    uuid: Option<String>,
    snapshot: String,
    change_id: Option<ChangeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum MachineName {
    Instance(String),
    /// Of a machine without an instance UUID. Unique within its vCenter.
    Id(String),
}

impl SourceBinding {
    /// Names `disk` as it is in `snapshot`: one of [`SnapshotDisks`](super::super::SnapshotDisks), not that of the machine,
    /// whose change id is of another point in time.
    #[must_use]
    pub fn new(endpoint: &Endpoint, machine: &Machine, snapshot: &Reference, disk: &Disk) -> Self {
        let config = machine.config.as_ref();
        let instance = config.and_then(|config| config.instance_uuid.clone());
        Self {
            endpoint: endpoint.clone(),
            machine: instance.map_or_else(|| MachineName::Id(machine.id.clone()), MachineName::Instance),
            key: disk.key,
            uuid: disk.uuid.clone(),
            snapshot: snapshot.id.clone(),
            change_id: disk.change_id.clone(),
        }
    }
}

impl fmt::Display for SourceBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.machine {
            MachineName::Instance(uuid) => ("instance", uuid),
            MachineName::Id(id) => ("machine", id),
        };
        write!(f, "vsphere {} {kind} {name} disk {}", self.endpoint, self.key)?;
        if let Some(uuid) = &self.uuid {
            write!(f, " uuid {uuid}")?;
        }
        write!(f, " snapshot {}", self.snapshot)?;
        match &self.change_id {
            // Last, because it may hold spaces.
            Some(change_id) => write!(f, " change {change_id}"),
            None => Ok(()),
        }
    }
}
