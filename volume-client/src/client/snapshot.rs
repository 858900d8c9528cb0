//! Snapshots of a volume: listing, taking, going back, deleting.

use serde_json::json;

use super::page::Unfiltered;
use super::{ClientError, ItemStream, VolumedClient};
use crate::types::{Cursor, NewSnapshot, Operation, Page, Snapshot, SnapshotId, VolumeId};

impl VolumedClient {
    /// One page of a volume's snapshots.
    ///
    /// # Errors
    /// A problem `volume_not_found`, or as for every reading.
    pub async fn list_snapshots(
        &self,
        volume: VolumeId,
        cursor: &Cursor,
    ) -> Result<Page<Snapshot>, ClientError> {
        self.page(&format!("/volumes/{volume}/snapshots"), &Unfiltered {}, cursor)
            .await
    }

    /// All snapshots of a volume.
    #[must_use]
    pub fn list_all_snapshots(&self, volume: VolumeId) -> ItemStream<Snapshot> {
        self.pages(format!("/volumes/{volume}/snapshots"), Unfiltered {})
    }

    /// One snapshot.
    ///
    /// # Errors
    /// Problems `volume_not_found`, `snapshot_not_found`, or as for every reading.
    pub async fn snapshot(&self, volume: VolumeId, id: SnapshotId) -> Result<Snapshot, ClientError> {
        self.get(&format!("/volumes/{volume}/snapshots/{id}"), &()).await
    }

    /// Asks for a snapshot to be taken.
    ///
    /// # Errors
    /// Problems `wrong_state`, `operation_in_progress`, `no_space`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn create_snapshot(
        &self,
        volume: VolumeId,
        new: &NewSnapshot,
    ) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{volume}/snapshots"), new).await
    }

    /// Asks for a volume to be put back to a snapshot: what was written since is lost.
    ///
    /// # Errors
    /// Problems `snapshot_not_found`, `volume_leased`, `wrong_state`; outcome unknown as
    /// [`ClientError::outcome_unknown`] says.
    pub async fn revert_snapshot(&self, volume: VolumeId, id: SnapshotId) -> Result<Operation, ClientError> {
        self.submit(&format!("/volumes/{volume}/snapshots/{id}/revert"), &json!({}))
            .await
    }

    /// Asks for a snapshot to be deleted.
    ///
    /// # Errors
    /// Problems `snapshot_not_found`, `operation_in_progress`; outcome unknown as [`ClientError::outcome_unknown`]
    /// says.
    pub async fn delete_snapshot(&self, volume: VolumeId, id: SnapshotId) -> Result<Operation, ClientError> {
        self.fetch(self.delete(&format!("/volumes/{volume}/snapshots/{id}")))
            .await
    }
}
