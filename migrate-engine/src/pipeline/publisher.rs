//! Publishes volumes for transfers from outside, watches over the exports, and gives everything back at the end.
//!
//! ```text
//! selected ─► attached? ─► leased, opened, proven ─► recorded ─► published ─► … ─► withdrawn ─► released ─► detached?
//! ```
//!
//! All are published or none. From then on each is for itself: one whose lease is lost ends at once, one whose server has
//! died is published again, for the descriptor of its device is still held.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use volume_client::client::VolumeFilter;
use volume_client::types::{Cursor, ErrorCode, LeasePurpose, Volume, VolumeId, VolumeState};
use volume_client::{ClientError, OpenedDevice, VolumedClient};

use super::PipelineError;
use super::publication::{Publication, Records};
use crate::block::Cancel;
use crate::config::{Afterwards, PublishSettings, Unattached};
use crate::store::{Attachment, Run, Store};
use crate::target::{self, Exports, Subject, TargetError, Volumes, stopped};

/// How often the server is asked whether it still serves: a server that dies tells nobody.
const LOOK: Duration = Duration::from_secs(2);

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
struct Standing {
    volume: VolumeId,
    attachment: Attachment,
    device: OpenedDevice,
    publication: Publication,
}

/// What happens to an export that nobody asked for.
enum News {
    LeaseLost(VolumeId),
    NotServed(VolumeId),
}

impl News {
    fn volume(&self) -> VolumeId {
        match self {
            Self::LeaseLost(volume) | Self::NotServed(volume) => *volume,
        }
    }
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
        let mut ended = Ok(());
        for export in standing {
            let after = match (&begun, export.attachment) {
                (Ok(()), _) => self.settings.afterwards,
                (Err(_), Attachment::Ours) => Afterwards::Detach,
                (Err(_), Attachment::Theirs) => Afterwards::StayAttached,
            };
            ended = ended.and(self.end(export, &exports, after).await);
        }
        if let Err(error) = exports.stop_if_idle().await {
            tracing::warn!(%error, "the NBD server goes on");
        }
        begun.and(served).and(ended)
    }

    /// The volumes that are meant, each once. All that can be refused is refused here, before anything is changed.
    async fn select(&self, wanted: &[String]) -> Result<Vec<Volume>, PipelineError> {
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

    /// Returns when the work is cancelled, or when no export stands any more.
    ///
    /// # Errors
    /// Why the first one ended that was not told to; it and those after it are given back already.
    async fn watch_over(
        &self,
        standing: &mut Vec<Standing>,
        exports: &Exports,
        audience: &dyn Audience,
    ) -> Result<(), PipelineError> {
        let mut lost = JoinSet::new();
        for export in standing.iter() {
            let (id, waiting) = (export.volume, export.device.wait_lost());
            lost.spawn(async move {
                waiting.await;
                id
            });
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut first: Option<PipelineError> = None;
        while !standing.is_empty() {
            let news = tokio::select! {
                () = stopped(&self.cancel) => break,
                Some(Ok(id)) = lost.join_next() => News::LeaseLost(id),
                id = not_served(standing, exports, &mut look) => News::NotServed(id),
            };
            let Some(at) = standing.iter().position(|export| export.volume == news.volume()) else {
                continue;
            };
            let error = match news {
                News::LeaseLost(volume) => PipelineError::LeaseOfExportLost { volume },
                News::NotServed(volume) => match exports.publish(&standing[at].device).await {
                    Ok(_) => {
                        audience.say(&format!(
                            "volume {volume}: its NBD server had died; published again"
                        ));
                        continue;
                    }
                    Err(source) => PipelineError::ServerLost { volume, source },
                },
            };
            audience.say(&error.to_string());
            // Whoever has the volume next is not to be disturbed: it stays as it is.
            let export = standing.remove(at);
            let volume = export.volume;
            if let Err(left) = self.end(export, exports, Afterwards::StayAttached).await {
                audience.say(&format!("volume {volume}: {left}"));
            }
            first.get_or_insert(error);
        }
        first.map_or(Ok(()), Err)
    }

    /// Withdraws an export, closes its device and releases the lease, in that order; each is done even if the one before
    /// failed. Then detaches the volume, where it is to be.
    async fn end(&self, export: Standing, exports: &Exports, after: Afterwards) -> Result<(), PipelineError> {
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

fn selection(wanted: &str, found: &[Volume]) -> PipelineError {
    PipelineError::Selection {
        wanted: wanted.to_owned(),
        ids: found.iter().map(|volume| volume.id).collect(),
    }
}

/// Returns an export that its server surely does not serve any more, once there is one.
async fn not_served(standing: &[Standing], exports: &Exports, look: &mut Interval) -> VolumeId {
    loop {
        look.tick().await;
        for export in standing {
            match exports.serves(&export.publication.name).await {
                Ok(true) => {}
                Ok(false) => return export.volume,
                Err(error) => tracing::warn!(%error, "cannot tell whether an export is served"),
            }
        }
    }
}
