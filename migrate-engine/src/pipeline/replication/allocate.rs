//! Volumes, devices and exports for the disks of a job; and all of them given back.

use volume_client::ClientError;
use volume_client::types::LeasePurpose;

use super::lane::Lane;
use super::{Attempt, ReplicationError};
use crate::config::Afterwards;
use crate::model::Size;
use crate::pipeline::names;
use crate::pipeline::publication::{Publication, Records};
use crate::target::{self, Exports, Wanted};

impl Attempt<'_> {
    /// A volume for each disk: the one that it has, verified to be large enough, or a new one. All are looked for before
    /// the first is made.
    pub(super) async fn provision(&self, lanes: &mut [Lane]) -> Result<(), ReplicationError> {
        for lane in lanes.iter_mut() {
            let found = self
                .volumes(&lane.disk.id)
                .find(&lane.key, Size(lane.capacity))
                .await?;
            lane.volume = found;
        }
        for lane in lanes.iter_mut() {
            self.go_on()?;
            if lane.volume.is_none() {
                let wanted = Wanted {
                    name: &names::volume_name(&self.machine.name, &lane.disk.label),
                    size: self.size_of(lane),
                };
                lane.volume = Some(self.volumes(&lane.disk.id).create(&lane.key, &wanted).await?);
            }
            lane.record.volume_id = lane.volume().id.to_string();
            self.note(lane)?;
        }
        Ok(())
    }

    /// Each volume attached here, its mapping verified or made anew; its device leased, opened and proven.
    pub(super) async fn attach(&self, lanes: &mut [Lane]) -> Result<(), ReplicationError> {
        for lane in lanes {
            self.go_on()?;
            // Also where it fails: whether it came to be may not be known.
            lane.is_attached = true;
            let volumes = self.volumes(&lane.disk.id);
            match volumes.attach(lane.volume()).await {
                Ok(()) => {}
                Err(error) => {
                    lane.is_attached = error.is_undecided();
                    return Err(error.into());
                }
            }
            let said = |text: &str| tracing::info!(job = self.job.id, disk = lane.disk.id, "{text}");
            let opened = target::open(&volumes, lane.volume().id, LeasePurpose::Export, &said).await;
            let device = opened.inspect_err(|error| {
                // Somebody else works with it.
                if error.is_leased() {
                    lane.is_attached = false;
                }
            })?;
            lane.record.device_path = Some(device.device().device_path.clone());
            lane.device = Some(device);
            self.note(lane)?;
        }
        Ok(())
    }

    /// Publishes each device.
    pub(super) async fn publish(
        &self,
        lanes: &mut [Lane],
        exports: &Exports,
    ) -> Result<(), ReplicationError> {
        for lane in lanes {
            self.go_on()?;
            let records = Records {
                store: &self.replicator.store,
                run: &self.replicator.run,
                listen: &self.replicator.settings.export.listen,
            };
            let publication = Publication::begin(exports, records, lane.device()).await?;
            lane.record.export_name = Some(publication.name.to_string());
            lane.publication = Some(publication);
            self.note(lane)?;
        }
        Ok(())
    }

    /// Withdraws the exports, closes the devices, detaches the volumes: each is tried although one before it failed.
    ///
    /// # Errors
    /// The first failure. What could not be given back is taken up by the next attempt.
    pub(super) async fn give_back(
        &self,
        lanes: &mut [Lane],
        exports: &Exports,
    ) -> Result<(), ReplicationError> {
        let mut first = Ok(());
        for lane in lanes {
            if let Err(error) = self.give_back_one(lane, exports).await {
                let volume = &lane.record.volume_id;
                tracing::warn!(
                    job = self.job.id,
                    disk = lane.disk.id,
                    volume,
                    error = error.chain(),
                    "cannot give a volume back"
                );
                first = first.and(Err(error));
            }
        }
        first
    }

    async fn give_back_one(&self, lane: &mut Lane, exports: &Exports) -> Result<(), ReplicationError> {
        let withdrawn = match lane.publication.take() {
            Some(publication) => publication.end(exports, &self.replicator.store).await,
            None => Ok(()),
        };
        let closed = match lane.device.take() {
            Some(device) => device.close().await,
            None => Ok(()),
        };
        let keeps = self.replicator.settings.afterwards == Afterwards::StayAttached;
        let detached = match lane.is_attached && !keeps {
            true => self.volumes(&lane.disk.id).detach(lane.volume().id).await,
            false => Ok(()),
        };
        withdrawn?;
        match closed {
            Err(error @ ClientError::DeviceIo { .. }) => return Err(ReplicationError::Daemon(error)),
            // The lease lapses by itself.
            Err(error) => tracing::warn!(%error, "cannot release a lease"),
            Ok(()) => {}
        }
        Ok(detached?)
    }
}
