//! Volumes: listing, creating, attaching, detaching, resizing, deleting.

use serde::Serialize;
use serde_json::json;

use super::{ClientError, ItemStream, VolumedClient};
use crate::types::{
    AdoptVolume, AttachVolume, Cursor, Explanation, NewVolume, Operation, Page, ResizeVolume, SourceDisk,
    Volume, VolumeDevice, VolumeId, VolumeState,
};

/// Which volumes are asked for; all that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VolumeFilter {
    /// The VM whose disk the volume holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_vm: Option<String>,
    /// The disk that the volume holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_disk: Option<String>,
    /// Where it is in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<VolumeState>,
    /// Its name, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl VolumedClient {
    /// One page of the volumes.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_volumes(
        &self,
        filter: &VolumeFilter,
        cursor: &Cursor,
    ) -> Result<Page<Volume>, ClientError> {
        self.page("/volumes", filter, cursor).await
    }

    /// All volumes that fit.
    #[must_use]
    pub fn list_all_volumes(&self, filter: VolumeFilter) -> ItemStream<Volume> {
        self.pages("/volumes".to_owned(), filter)
    }

    /// One volume.
    ///
    /// # Errors
    /// A problem `volume_not_found` if there is none, or as for every reading.
    pub async fn volume(&self, id: VolumeId) -> Result<Volume, ClientError> {
        self.get(&format!("/volumes/{id}"), &()).await
    }

    /// The volume of a source disk, if it has one: it has at most one.
    ///
    /// # Errors
    /// As for every reading.
    pub async fn volume_of_source(&self, source: &SourceDisk) -> Result<Option<Volume>, ClientError> {
        let filter = VolumeFilter {
            source_vm: Some(source.vm.clone()),
            source_disk: Some(source.disk.clone()),
            ..VolumeFilter::default()
        };
        let page = self.list_volumes(&filter, &Cursor::default()).await?;
        // A daemon that ignored the filter must not hand us another disk's volume.
        let mut fitting = page
            .items
            .into_iter()
            .filter(|v| v.source.as_ref() == Some(source));
        Ok(fitting.next())
    }

    /// Asks for a new volume. Safe to repeat under one idempotency key.
    ///
    /// # Errors
    /// Problems `source_taken`, `size_out_of_range`, `no_space`, `invalid_request`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn create_volume(&self, new: &NewVolume) -> Result<Operation, ClientError> {
        self.submit("/volumes", new).await
    }

    /// Asks for a record of a volume that the cloud has and the daemon does not know. Where it is attached to the daemon's
    /// VM, that attachment is taken over and its device proven; else the volume stays detached.
    ///
    /// # Errors
    /// Problems `provider_volume_not_found`, `already_recorded`, `attached_elsewhere`, `wrong_state`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn adopt_volume(&self, adopt: &AdoptVolume) -> Result<Operation, ClientError> {
        self.submit("/volumes/adopt", adopt).await
    }

    /// What each view says of a volume, and what comes next.
    ///
    /// # Errors
    /// A problem `volume_not_found` if there is none, or as for every reading.
    pub async fn explain_volume(&self, id: VolumeId) -> Result<Explanation, ClientError> {
        self.get(&format!("/volumes/{id}/explain"), &()).await
    }

    /// Asks for a volume to be deleted. One that was ever handed out is deleted only with its name as confirmation.
    ///
    /// # Errors
    /// Problems `confirmation_required`, `wrong_state`, `volume_leased`, `has_snapshots`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn delete_volume(
        &self,
        id: VolumeId,
        confirm_name: Option<&str>,
    ) -> Result<Operation, ClientError> {
        let builder = self.delete(&format!("/volumes/{id}"));
        let builder = match confirm_name {
            Some(name) => builder.query(&[("confirm_name", name)]),
            None => builder,
        };
        self.fetch(builder).await
    }

    /// Asks for a volume to be attached to the daemon's own VM.
    ///
    /// # Errors
    /// Problems `already_attached`, `foreign_vm`, `operation_in_progress`, `attached_elsewhere`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn attach_volume(&self, id: VolumeId, attach: &AttachVolume) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{id}/attach"), attach).await
    }

    /// Asks for a volume to be detached.
    ///
    /// # Errors
    /// Problems `not_attached`, `volume_leased`, `device_busy`, `operation_in_progress`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn detach_volume(&self, id: VolumeId) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{id}/detach"), &json!({})).await
    }

    /// Asks for a volume to be made larger.
    ///
    /// # Errors
    /// Problems `shrink_refused`, `size_out_of_range`, `volume_leased`, `operation_in_progress`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn resize_volume(&self, id: VolumeId, resize: &ResizeVolume) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{id}/resize"), resize).await
    }

    /// Asks for the device of an attached volume to be found anew.
    ///
    /// # Errors
    /// Problems `not_attached`, `operation_in_progress`; outcome unknown as [`ClientError::outcome_unknown`] says.
    pub async fn correlate_volume(&self, id: VolumeId) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{id}/correlate"), &json!({})).await
    }

    /// The device of an attached volume, verified against the kernel for this very answer.
    ///
    /// To use it, call [`VolumedClient::open_device`]: the path may be another disk's a moment later.
    ///
    /// # Errors
    /// Problems `not_attached`, `device_missing`, `device_ambiguous`, `size_mismatch`, `device_changed`,
    /// `device_unverifiable`, or as for every reading.
    pub async fn volume_device(&self, id: VolumeId) -> Result<VolumeDevice, ClientError> {
        self.get(&format!("/volumes/{id}/device"), &()).await
    }
}
