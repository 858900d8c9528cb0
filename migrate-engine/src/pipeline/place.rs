//! Which volume a disk goes to, decided before anything is changed.

use volume_client::types::{SourceDisk as SourceKey, Volume, VolumeState};

use super::machine::Copier;
use super::{PipelineError, names};
use crate::config::Existing;
use crate::model::{Size, volume_size};
use crate::source::SourceDisk;
use crate::store::{Attachment, Standing};
use crate::target::{Subject, Volumes};

/// The place of one disk.
pub(super) struct Place {
    /// By what the daemon knows the disk.
    pub(super) key: SourceKey,
    /// How large a new volume is made.
    pub(super) size: Size,
    /// The volume that the disk has.
    pub(super) volume: Option<Volume>,
    /// What is known of that volume.
    pub(super) standing: Standing,
}

impl Place {
    /// Whose the volume's attachment is: what a run of ours that was killed has attached is ours.
    pub(super) fn attachment(&self) -> Attachment {
        let in_use = self
            .volume
            .as_ref()
            .is_some_and(|v| v.state == VolumeState::InUse);
        match self.standing {
            Standing::Unfinished(Attachment::Ours) => Attachment::Ours,
            _ if in_use => Attachment::Theirs,
            _ => Attachment::Ours,
        }
    }
}

impl Copier {
    /// The volumes, as they are asked for on behalf of a disk.
    pub(super) fn volumes<'a>(&'a self, disk: &'a SourceDisk) -> Volumes<'a> {
        Volumes {
            client: &self.client,
            subject: Subject::Disk(&disk.disk_id),
            timeout: self.settings.operation_timeout,
            cancel: &self.cancel,
        }
    }

    /// Finds the place of a disk of `capacity` bytes. Changes nothing.
    ///
    /// # Errors
    /// Where no volume can be so large, or the disk's volume is too small, needs a person, or holds what is not to be
    /// written over unasked.
    pub(super) async fn place(
        &self,
        machine: &str,
        disk: &SourceDisk,
        capacity: u64,
    ) -> Result<Place, PipelineError> {
        let too_large = || PipelineError::TooLarge {
            disk: disk.disk_id.clone(),
            capacity,
        };
        let size = volume_size(capacity, self.settings.buffer).ok_or_else(too_large)?;
        let key = names::source_disk(machine, disk.path.as_deref(), &disk.disk_id);
        let volume = self.volumes(disk).find(&key, Size(capacity)).await?;
        let standing = match &volume {
            Some(volume) => self.store.standing(&volume.id.to_string())?,
            None => Standing::Unknown,
        };
        if let Some(volume) = volume
            .as_ref()
            .filter(|_| self.settings.existing == Existing::Refuse)
            && let Some(why) = occupied(volume, standing)
        {
            return Err(PipelineError::Occupied {
                volume: volume.id,
                disk: disk.disk_id.clone(),
                why,
            });
        }
        Ok(Place {
            key,
            size,
            volume,
            standing,
        })
    }
}

/// Why a volume is not to be written over unasked.
fn occupied(volume: &Volume, standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Finished => Some("holds a finished copy of it"),
        Standing::Unfinished(_) => None,
        Standing::Unknown if volume.known_zero => None,
        Standing::Unknown => Some("holds something that this engine has no record of"),
    }
}
