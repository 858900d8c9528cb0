//! A disk on its way through the steps of a job.

use std::ops::Range;
use std::sync::Arc;

use volume_client::OpenedDevice;
use volume_client::types::{SourceDisk as SourceKey, Volume};

use super::choice::Mode;
use super::{Attempt, ReplicationError};
use crate::block::BlockRead;
use crate::model::{DiskSpec, Size, volume_size};
use crate::pipeline::publication::Publication;
use crate::pipeline::{PipelineError, names};
use crate::source::{Category, FrozenDisk, SourceFailure};
use crate::store::JobDisk;
use crate::target::{Subject, Volumes};

/// A disk, and what was taken for it so far.
pub(super) struct Lane {
    pub(super) disk: DiskSpec,
    pub(super) capacity: u64,
    /// By what the daemon knows it.
    pub(super) key: SourceKey,
    pub(super) volume: Option<Volume>,
    pub(super) is_attached: bool,
    pub(super) device: Option<OpenedDevice>,
    pub(super) publication: Option<Publication>,
    pub(super) frozen: Option<FrozenDisk>,
    pub(super) mode: Mode,
    pub(super) reader: Option<Arc<dyn BlockRead>>,
    /// What is in use of it, for whoever reads it elsewhere.
    pub(super) allocated: Option<Arc<[Range<u64>]>>,
    /// What is recorded of it.
    pub(super) record: JobDisk,
}

impl Lane {
    /// The volume, which it has once it is provisioned.
    pub(super) fn volume(&self) -> &Volume {
        self.volume
            .as_ref()
            .expect("steps after the provisioning find volumes")
    }

    pub(super) fn device(&self) -> &OpenedDevice {
        self.device
            .as_ref()
            .expect("steps after the attaching find devices")
    }

    pub(super) fn frozen(&self) -> &FrozenDisk {
        self.frozen
            .as_ref()
            .expect("steps after the freezing find frozen disks")
    }
}

impl Attempt<'_> {
    /// The disks of the machine, judged. `machine` is by what the daemon knows it.
    pub(super) fn lanes(&self, machine: &str) -> Result<Vec<Lane>, ReplicationError> {
        self.machine
            .disks
            .iter()
            .map(|disk| self.lane(machine, disk))
            .collect()
    }

    fn lane(&self, machine: &str, disk: &DiskSpec) -> Result<Lane, ReplicationError> {
        let capacity = disk.capacity_bytes.filter(|&bytes| bytes > 0).ok_or_else(|| {
            let why = format!("disk `{}` of `{}` has no size", disk.label, self.machine.path);
            SourceFailure::new(Category::Refused, why)
        })?;
        if volume_size(capacity, self.replicator.settings.buffer).is_none() {
            let disk = disk.id.clone();
            return Err(PipelineError::TooLarge { disk, capacity }.into());
        }
        Ok(Lane {
            key: names::source_disk(machine, None, &disk.id),
            record: JobDisk {
                disk_id: disk.id.clone(),
                ..JobDisk::default()
            },
            disk: disk.clone(),
            capacity,
            volume: None,
            is_attached: false,
            device: None,
            publication: None,
            frozen: None,
            mode: Mode::Everything,
            reader: None,
            allocated: None,
        })
    }

    /// How large a new volume for the disk is made.
    pub(super) fn size_of(&self, lane: &Lane) -> Size {
        volume_size(lane.capacity, self.replicator.settings.buffer).expect("it was judged with its lane")
    }

    /// The daemon's volumes, asked for on behalf of a disk.
    pub(super) fn volumes<'v>(&'v self, disk: &'v str) -> Volumes<'v> {
        Volumes {
            client: &self.client,
            subject: Subject::Disk(disk),
            timeout: self.replicator.settings.operation_timeout,
            cancel: self.cancel,
        }
    }

    /// Records what is known of a disk.
    pub(super) fn note(&self, lane: &Lane) -> Result<(), ReplicationError> {
        Ok(self.replicator.store.note_disk(&self.job.id, &lane.record)?)
    }
}
