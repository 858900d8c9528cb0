//! Publishes volumes for transfers from outside, watches over the exports, and gives everything back at the end.
//!
//! ```text
//! selected ─► attached? ─► leased, opened, proven ─► recorded ─► published ─► … ─► withdrawn ─► released ─► detached?
//! ```
//!
//! All are published or none. From then on each is for itself: one whose lease is lost ends at once, one whose server has
//! died is published again, for the descriptor of its device is still held.

use std::sync::Arc;

use volume_client::types::{LeasePurpose, Volume, VolumeId, VolumeState};
use volume_client::{ClientError, OpenedDevice, VolumedClient};

use super::PipelineError;
use super::publication::{Publication, Records};
use crate::block::Cancel;
use crate::config::{Afterwards, PublishSettings};
use crate::store::{Attachment, Run, Store};
use crate::target::{self, Exports, Subject, TargetError, Volumes};

/// What exports are published with.
pub struct Publisher {
    /// The daemon.
    pub client: VolumedClient,
    /// The engine's records.
    pub store: Arc<Store>,
    /// This run, as whose the exports are recorded.
    pub run: Run,
    /// How they are published.
    pub settings: PublishSettings,
    /// Ends them.
    pub cancel: Cancel,
}

/// A volume that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where a client on this machine finds it.
    pub uri: String,
    /// The export's name.
    pub name: String,
    /// The volume.
    pub volume: VolumeId,
    /// Its size in bytes.
    pub size: u64,
    /// The verified device.
    pub device_path: String,
}

/// Who is told of exports. Calls are short.
pub trait Audience: Send + Sync {
    /// A sentence about what is done now.
    fn say(&self, text: &str);

    /// All that were asked for are published. Called once.
    ///
    /// # Errors
    /// Where nobody can be told any more; the exports then end.
    fn published(&self, exports: &[Published]) -> std::io::Result<()>;
}

/// One export that stands.
pub(super) struct Standing {
    pub(super) volume: VolumeId,
    attachment: Attachment,
    pub(super) device: OpenedDevice,
    pub(super) publication: Publication,
}

impl Publisher {
    /// Publishes the volumes that `wanted` names (ids or names) until the work is cancelled, which is the good end.
    ///
    /// # Errors
    /// Why not all of them could be published: then none is, and what was attached for it is detached again. Or why one of
    /// them ended early, or could not be given back.
    pub async fn serve(&self, wanted: &[String], audience: &dyn Audience) -> Result<(), PipelineError> {
        let volumes = self.select(wanted).await?;
        let exports = Exports::connect(&self.settings.export).await?;
        let mut standing = Vec::new();
        let begun = self.begin_all(&volumes, &exports, &mut standing, audience).await;
        let served = match &begun {
            Ok(()) => self.watch_over(&mut standing, &exports, audience).await,
            Err(_) => Ok(()),
        };
        let mut ended: Result<(), PipelineError> = Ok(());
        for export in standing {
            let after = match (&begun, export.attachment) {
                (Ok(()), _) => self.settings.afterwards,
                (Err(_), Attachment::Ours) => Afterwards::Detach,
                (Err(_), Attachment::Theirs) => Afterwards::StayAttached,
            };
            let volume = export.volume;
            if let Err(error) = self.end(export, &exports, after).await {
                audience.say(&format!("volume {volume}: {error}"));
                ended = ended.and(Err(error));
            }
        }
        if let Err(error) = exports.stop_if_idle().await {
            tracing::warn!(%error, "the NBD server goes on");
        }
        begun.and(served).and(ended)
    }

    async fn begin_all(
        &self,
        volumes: &[Volume],
        exports: &Exports,
        standing: &mut Vec<Standing>,
        audience: &dyn Audience,
    ) -> Result<(), PipelineError> {
        for volume in volumes {
            standing.push(self.begin(volume, exports, audience).await?);
        }
        let published: Vec<_> = standing.iter().map(Standing::published).collect();
        audience.published(&published).map_err(PipelineError::Untold)
    }

    /// Publishes one volume. Where that fails, what was attached for it is detached again.
    async fn begin(
        &self,
        volume: &Volume,
        exports: &Exports,
        audience: &dyn Audience,
    ) -> Result<Standing, PipelineError> {
        let attachment = match volume.state {
            VolumeState::InUse => Attachment::Theirs,
            _ => Attachment::Ours,
        };
        let name = Exports::name(volume.id).to_string();
        let volumes = self.volumes(&name);
        if self.cancel.is_cancelled() {
            return Err(PipelineError::Cancelled);
        }
        let begun = match volumes.attach(volume).await {
            Ok(()) => {
                self.open_and_publish(&volumes, volume.id, exports, audience)
                    .await
            }
            // Surely not attached by us.
            Err(error) if !error.is_undecided() => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match begun {
            Ok((device, publication)) => Ok(Standing {
                volume: volume.id,
                attachment,
                device,
                publication,
            }),
            Err(error) => {
                if attachment == Attachment::Ours
                    && !error.is_leased()
                    && let Err(left) = volumes.detach(volume.id).await
                {
                    audience.say(&format!("volume {} stays attached: {left}", volume.id));
                }
                Err(error)
            }
        }
    }

    async fn open_and_publish(
        &self,
        volumes: &Volumes<'_>,
        id: VolumeId,
        exports: &Exports,
        audience: &dyn Audience,
    ) -> Result<(OpenedDevice, Publication), PipelineError> {
        let tell = |text: &str| audience.say(&format!("volume {id}: {text}"));
        let device = target::open(volumes, id, LeasePurpose::Export, &tell).await?;
        let records = Records {
            store: &self.store,
            run: &self.run,
            listen: &self.settings.export.listen,
        };
        match Publication::begin(exports, records, &device).await {
            Ok(publication) => Ok((device, publication)),
            Err(error) => {
                if let Err(left) = device.close().await {
                    tracing::warn!(error = %left, volume = %id, "closing the device of an export that failed");
                }
                Err(error)
            }
        }
    }

    /// Withdraws an export, closes its device and releases the lease, in that order; each is done even if the one before
    /// failed. Then detaches the volume, where it is to be.
    pub(super) async fn end(
        &self,
        export: Standing,
        exports: &Exports,
        after: Afterwards,
    ) -> Result<(), PipelineError> {
        let Standing {
            volume,
            device,
            publication,
            ..
        } = export;
        let name = publication.name.to_string();
        let withdrawn = publication.end(exports, &self.store).await;
        let closed = match device.close().await {
            Err(source @ ClientError::DeviceIo { .. }) => Err(TargetError::Daemon {
                doing: "close the device",
                subject: Subject::Export(&name).to_string(),
                source,
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot release the lease; it lapses by itself");
                Ok(())
            }
            Ok(()) => Ok(()),
        };
        let detached = match after {
            Afterwards::StayAttached => Ok(()),
            Afterwards::Detach => self.volumes(&name).detach(volume).await,
        };
        withdrawn?;
        closed?;
        Ok(detached?)
    }

    fn volumes<'a>(&'a self, export: &'a str) -> Volumes<'a> {
        Volumes {
            client: &self.client,
            subject: Subject::Export(export),
            timeout: self.settings.operation_timeout,
            cancel: &self.cancel,
        }
    }
}

impl Standing {
    fn published(&self) -> Published {
        let device = self.device.device();
        Published {
            uri: self.publication.uri.clone(),
            name: self.publication.name.to_string(),
            volume: self.volume,
            size: device.size_bytes,
            device_path: device.device_path.clone(),
        }
    }
}
