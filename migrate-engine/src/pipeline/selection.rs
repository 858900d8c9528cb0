//! Which volumes are meant by ids and names, and whether they can be published: decided before anything is changed.

use volume_client::client::VolumeFilter;
use volume_client::types::{Cursor, ErrorCode, Volume, VolumeId, VolumeState};

use super::PipelineError;
use super::publisher::Publisher;
use crate::config::Unattached;

impl Publisher {
    /// The volumes that are meant, each once. All that can be refused is refused here, before anything is changed.
    pub(super) async fn select(&self, wanted: &[String]) -> Result<Vec<Volume>, PipelineError> {
        let mut volumes: Vec<Volume> = Vec::new();
        for text in wanted {
            let volume = self.find(text).await?;
            match (volume.state, self.settings.unattached) {
                (VolumeState::InUse, _) | (VolumeState::Available, Unattached::Attach) => {}
                (VolumeState::Available, Unattached::Refuse) => {
                    return Err(PipelineError::NotAttached { volume: volume.id });
                }
                (state, _) => {
                    return Err(PipelineError::Unpublishable {
                        volume: volume.id,
                        state,
                    });
                }
            }
            if volumes.iter().all(|other| other.id != volume.id) {
                volumes.push(volume);
            }
        }
        Ok(volumes)
    }

    async fn find(&self, wanted: &str) -> Result<Volume, PipelineError> {
        if let Ok(id) = wanted.parse::<VolumeId>() {
            return match self.client.volume(id).await {
                Err(error) if error.code() == Some(ErrorCode::VolumeNotFound) => Err(selection(wanted, &[])),
                found => found.map_err(PipelineError::Daemon),
            };
        }
        let filter = VolumeFilter {
            name: Some(wanted.to_owned()),
            ..VolumeFilter::default()
        };
        let found = self.client.list_volumes(&filter, &Cursor::default()).await;
        let mut found = found.map_err(PipelineError::Daemon)?.items;
        match found.len() {
            1 => Ok(found.remove(0)),
            _ => Err(selection(wanted, &found)),
        }
    }
}

fn selection(wanted: &str, found: &[Volume]) -> PipelineError {
    PipelineError::Selection {
        wanted: wanted.to_owned(),
        ids: found.iter().map(|volume| volume.id).collect(),
    }
}
