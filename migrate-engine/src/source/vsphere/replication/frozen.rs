//! The disks of a machine in one snapshot of ours.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::super::{
    Area, ChangeId, Changes as Asked, DatastorePath, Disk, FolderDisk, FolderDiskOptions, Machine, Reference,
    RequestLimit, Session, Since, SnapshotNode, SourceBinding, Vddk, VddkDisk, VddkError, VddkLogin,
    VddkPlace, VsphereError,
};
use super::VsphereSource;
use crate::block::BlockRead;
use crate::source::{Category, Changes, Frozen, FrozenDisk, Mark, SourceFailure};

pub(super) struct FrozenMachine {
    session: Session,
    machine: Reference,
    datacenter: Option<String>,
    snapshot: Reference,
    disks: Vec<FrozenDisk>,
    described: Vec<Disk>,
    requests: RequestLimit,
    vddk: Option<Vddk>,
    /// Readers of VMware's library that were dropped and have not let go of the snapshot yet.
    ends: TaskTracker,
    tracking: Tracking,
}

/// Whether what the vCenter tells of changes is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    /// It is.
    Believed,
    /// It is not, because somebody may go back to a snapshot of his own: of changes since a point in time that was left so, nobody
    /// promises that they are told. The reader itself tells what is in use.
    Doubted,
}

/// Why all of a disk is read then.
const DOUBTED: &str =
    "the machine has snapshots of others, and a return to one of them would not show among the changes";

impl FrozenMachine {
    pub(super) fn new(
        source: &VsphereSource,
        machine: &Machine,
        snapshot: Reference,
        described: Vec<Disk>,
        tracking: Tracking,
    ) -> Self {
        let session = source.session.clone();
        let disks = described
            .iter()
            .map(|disk| FrozenDisk {
                id: disk.id.clone(),
                label: disk.label.clone(),
                capacity: disk.capacity_bytes.unwrap_or_default(),
                mark: match tracking {
                    Tracking::Believed => disk.change_id.as_ref().map(ToString::to_string),
                    Tracking::Doubted => None,
                },
                content: Some(SourceBinding::new(session.endpoint(), machine, &snapshot, disk).to_string()),
            })
            .collect();
        Self {
            session,
            machine: machine.reference(),
            datacenter: machine.datacenter_path.clone(),
            snapshot,
            disks,
            described,
            requests: source.requests.clone(),
            vddk: source.vddk.clone(),
            ends: TaskTracker::new(),
            tracking,
        }
    }

    fn described(&self, disk: &FrozenDisk) -> Result<&Disk, SourceFailure> {
        let found = self.described.iter().find(|described| described.id == disk.id);
        found.ok_or_else(|| {
            let why = format!("{} is no disk of {}", disk.id, self.snapshot.id);
            SourceFailure::new(Category::NotFound, why)
        })
    }

    async fn ask(&self, disk: &Disk, since: &Since) -> Result<Asked, SourceFailure> {
        let capacity = disk.capacity_bytes.unwrap_or_default();
        let asked = self
            .session
            .changed_areas(&self.machine, &self.snapshot, disk.key, since, capacity);
        Ok(asked.await?)
    }

    /// The disk with all that lies below it, as VMware's library gives it.
    async fn through_library(
        &self,
        vddk: &Vddk,
        disk: &FrozenDisk,
        path: &DatastorePath,
        allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<VddkDisk, VddkError> {
        let server = self.session.endpoint();
        let thumbprint = self.session.thumbprint();
        let login = VddkLogin {
            server: server.clone(),
            credentials: self.session.credentials().clone(),
            thumbprint: thumbprint.ok_or_else(|| VddkError::NoThumbprint {
                server: server.to_string(),
            })?,
        };
        let place = VddkPlace {
            machine: self.machine.id.clone(),
            snapshot: self.snapshot.id.clone(),
            file: path.to_string(),
            label: disk.label.clone(),
            capacity: disk.capacity,
        };
        vddk.open(&login, &place, allocated, &self.ends).await
    }

    /// All of the disk; what is in use, where the vCenter can tell.
    async fn all(&self, disk: &Disk, reason: Option<String>) -> Result<Changes, SourceFailure> {
        let allocated = match disk.change_id {
            _ if self.tracking == Tracking::Doubted => None,
            None => None,
            Some(_) => match self.ask(disk, &Since::Creation).await? {
                Asked::Areas(areas) => Some(ranges(&areas)),
                Asked::FullCopy(why) => {
                    tracing::info!(disk = disk.id, %why, "reads unused areas, too");
                    None
                }
            },
        };
        Ok(Changes::All { reason, allocated })
    }
}

#[async_trait]
impl Frozen for FrozenMachine {
    fn disks(&self) -> &[FrozenDisk] {
        &self.disks
    }

    async fn changes(&self, disk: &FrozenDisk, since: Option<&Mark>) -> Result<Changes, SourceFailure> {
        let disk = self.described(disk)?;
        let Some(before) = since else {
            return self.all(disk, None).await;
        };
        if self.tracking == Tracking::Doubted {
            return self.all(disk, Some(DOUBTED.to_owned())).await;
        }
        let id: ChangeId = match before.mark.parse() {
            Ok(id) => id,
            Err(error) => {
                let reason = format!("a full copy is needed, because {error}");
                return self.all(disk, Some(reason)).await;
            }
        };
        if let Err(reason) = disk.goes_on_from(&id, before.capacity) {
            return self.all(disk, Some(reason.to_string())).await;
        }
        match self.ask(disk, &Since::Change(id)).await? {
            Asked::Areas(areas) => Ok(Changes::Since(ranges(&areas))),
            Asked::FullCopy(reason) => self.all(disk, Some(reason.to_string())).await,
        }
    }

    async fn reader(
        &self,
        disk: &FrozenDisk,
        allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<Arc<dyn BlockRead>, SourceFailure> {
        let described = self.described(disk)?;
        let path: DatastorePath = described
            .path
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(super::super::FolderError::from)?;
        if let Some(vddk) = &self.vddk {
            return Ok(Arc::new(
                self.through_library(vddk, disk, &path, allocated).await?,
            ));
        }
        let file = self
            .session
            .flat_file(&path, self.datacenter.as_deref(), disk.capacity)
            .await?;
        let options = FolderDiskOptions {
            requests: self.requests.clone(),
            ..FolderDiskOptions::default()
        };
        let reader = FolderDisk::new(file, Handle::current(), options);
        Ok(match allocated {
            None => Arc::new(reader),
            Some(ranges) => Arc::new(reader.with_allocated(&areas(&ranges))),
        })
    }

    /// A snapshot that is gone was merged into the files that we have read.
    async fn check(&self) -> Result<(), SourceFailure> {
        let tree = self.session.snapshots(&self.machine).await?;
        let is_there = SnapshotNode::walk(&tree)
            .iter()
            .any(|node| node.id == self.snapshot.id);
        match is_there {
            true => Ok(()),
            false => Err(VsphereError::SnapshotGone {
                snapshot: self.snapshot.id.clone(),
            }
            .into()),
        }
    }

    async fn release(&self) -> Result<(), SourceFailure> {
        self.ends.close();
        self.ends.wait().await;
        Ok(self.session.remove_snapshot(&self.snapshot).await?)
    }
}

fn areas(ranges: &[Range<u64>]) -> Vec<Area> {
    let area = |range: &Range<u64>| Area {
        start: range.start,
        length: range.end - range.start,
    };
    ranges.iter().map(area).collect()
}

fn ranges(areas: &[Area]) -> Arc<[Range<u64>]> {
    areas
        .iter()
        .map(|area| area.start..area.start + area.length)
        .collect()
}
