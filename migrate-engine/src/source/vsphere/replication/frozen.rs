//! The disks of a machine in one snapshot of ours.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::super::{
    Area, ChangeId, Changes as Asked, DatastorePath, Disk, FolderDisk, FolderDiskOptions, Machine, Reference,
    RequestLimit, Session, Since, SnapshotNode, SourceBinding, VsphereError,
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
}

impl FrozenMachine {
    pub(super) fn new(
        source: &VsphereSource,
        machine: &Machine,
        snapshot: Reference,
        described: Vec<Disk>,
    ) -> Self {
        let session = source.session.clone();
        let disks = described
            .iter()
            .map(|disk| FrozenDisk {
                id: disk.id.clone(),
                label: disk.label.clone(),
                capacity: disk.capacity_bytes.unwrap_or_default(),
                mark: disk.change_id.as_ref().map(ToString::to_string),
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

    /// All of the disk; what is in use, where the vCenter can tell.
    async fn all(&self, disk: &Disk, reason: Option<String>) -> Result<Changes, SourceFailure> {
        let allocated = match disk.change_id {
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
