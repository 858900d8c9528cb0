//! An export from its record to its withdrawal: recorded before it is published, so that what a crash leaves is known.

use nbd_export::{ExportName, NbdAddress};
use volume_client::OpenedDevice;

use super::PipelineError;
use crate::store::{ExportRow, Run, Store};
use crate::target::{ExportFailure, Exports};

/// Where exports are recorded, and as whose.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) store: &'a Store,
    pub(super) run: &'a Run,
    pub(super) listen: &'a NbdAddress,
}

/// A volume's export that stands.
pub(super) struct Publication {
    pub(super) name: ExportName,
    /// Where clients find it.
    pub(super) uri: String,
    /// The same, with what the engine itself needs for it; `None` where it cannot come there.
    own: Option<String>,
    volume: String,
}

impl Publication {
    /// Publishes the device of a lease that we hold. Where that fails, nothing stays published.
    pub(super) async fn begin(
        exports: &Exports,
        records: Records<'_>,
        device: &OpenedDevice,
    ) -> Result<Self, PipelineError> {
        let id = device.device().volume_id;
        let name = Exports::name(id);
        let publication = Self {
            uri: exports.uri(&name),
            own: None,
            volume: id.to_string(),
            name,
        };
        records.store.publishing(&ExportRow {
            volume_id: publication.volume.clone(),
            name: publication.name.to_string(),
            device_path: device.device().device_path.clone(),
            uri: publication.uri.clone(),
            backend: exports.backend().to_owned(),
            listen: records.listen.to_string(),
            run: records.run.id(),
        })?;
        let published = async {
            // We hold the lease: an export of this volume that is still there was left by somebody who died.
            exports.withdraw(&publication.name).await?;
            let uri = exports.publish(device).await?;
            // With an allow-list it may be elsewhere than was foreseen.
            records.store.published(&publication.volume, &uri)?;
            let own = match exports.reached_by_us(&uri) {
                Err(ExportFailure::Keys) => None,
                own => Some(own?),
            };
            Ok::<_, PipelineError>((uri, own))
        };
        match published.await {
            Ok((uri, own)) => Ok(Self {
                uri,
                own,
                ..publication
            }),
            Err(error) => {
                if let Err(left) = publication.end(exports, records.store).await {
                    tracing::warn!(error = %left, "an export may be left; the next run withdraws it");
                }
                Err(error)
            }
        }
    }

    /// Where the engine itself finds it.
    ///
    /// # Errors
    /// Where it cannot come there.
    pub(super) fn reached_by_us(&self) -> Result<&str, PipelineError> {
        Ok(self.own.as_deref().ok_or(ExportFailure::Keys)?)
    }

    /// Withdraws the export, whoever is connected. Where that fails, its record stays for the next run.
    pub(super) async fn end(self, exports: &Exports, store: &Store) -> Result<(), PipelineError> {
        exports.withdraw(&self.name).await?;
        Ok(store.withdrawn(&self.volume)?)
    }
}
