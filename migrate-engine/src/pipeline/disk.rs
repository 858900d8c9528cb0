//! Copies one disk into its volume: provision, attach, prove, move, flush, read back, give back.

use std::sync::Arc;

use volume_client::types::{LeasePurpose, Volume, VolumeState};
use volume_client::{ClientError, OpenedDevice};

use super::machine::{Copier, Watch};
use super::place::Place;
use super::{PipelineError, names, route};
use crate::block::{BlockRead, Cancel, NbdExport};
use crate::config::{Afterwards, Verification};
use crate::model::{DigestReport, DiskReport, Route, Size};
use crate::source::{ServedDisk, SourceDisk};
use crate::store::{Attachment, CopyEnd, DiskRow};
use crate::target::{self, Exports, Subject, TargetError, Wanted, stopped};
use crate::transfer::{self, RateLimit, VerifyReport};

/// One disk to copy.
pub(super) struct Job<'a> {
    pub(super) copier: &'a Copier,
    /// The record of the machine's copy.
    pub(super) copy: i64,
    pub(super) machine: &'a str,
    pub(super) source: &'a SourceDisk,
    pub(super) exports: Option<&'a Exports>,
    pub(super) rate: &'a RateLimit,
    pub(super) watch: &'a dyn Watch,
}

/// The source of a disk while it is served.
pub(super) struct Served {
    pub(super) disk: ServedDisk,
    pub(super) reader: Arc<NbdExport>,
}

/// What moving the bytes gave.
pub(super) struct Moved {
    pub(super) copy: transfer::CopyReport,
    pub(super) verified: Option<VerifyReport>,
}

/// How a copy's end is recorded.
pub(super) fn end_of<T>(
    copied: &Result<T, PipelineError>,
    digest: impl FnOnce(&T) -> Option<String>,
) -> CopyEnd {
    match copied {
        Ok(copied) => CopyEnd::Completed {
            digest: digest(copied),
        },
        Err(error) if error.is_cancelled() => CopyEnd::Cancelled,
        Err(error) => CopyEnd::Failed {
            error: error.to_string(),
        },
    }
}

impl Job<'_> {
    /// Copies the disk. Whatever happens, what this run attached is detached again unless it is to stay.
    pub(super) async fn run(&self) -> Result<DiskReport, PipelineError> {
        let cancel = &self.copier.cancel;
        let served = async {
            let disk = self.source.serve(&self.copier.sources).await?;
            let options = match disk.server_id() {
                Some(_) => route::reading_ours(&self.copier.settings),
                None => route::reading(&self.copier.settings),
            };
            let reader = route::connect(disk.uri().to_owned(), options).await?;
            Ok::<_, PipelineError>(Served { disk, reader })
        };
        let served = tokio::select! {
            served = served => served?,
            () = stopped(cancel) => return Err(PipelineError::Cancelled),
        };
        let copied = self.copy(&served).await;
        let Served { disk, reader } = served;
        drop(reader);
        if let Err(error) = disk.stop().await {
            tracing::warn!(%error, "the source's server did not stop in good order");
        }
        copied
    }

    async fn copy(&self, served: &Served) -> Result<DiskReport, PipelineError> {
        let (disk, capacity) = (&self.source.disk_id, BlockRead::size(&*served.reader));
        if let Some(said) = self.source.capacity_bytes.filter(|&said| said != capacity) {
            return Err(PipelineError::SourceSize {
                disk: disk.clone(),
                said,
                found: capacity,
            });
        }
        let place = self.copier.place(self.machine, self.source, capacity).await?;
        let volume = self.provision(&place, capacity).await?;
        let store = &self.copier.store;
        let record = store.begin_disk(&DiskRow {
            copy: self.copy,
            volume: &volume.id.to_string(),
            vm: &place.key.vm,
            disk: &place.key.disk,
            attachment: place.attachment(),
        })?;
        let moved = self.attach_and_move(served, &volume, &place).await;
        let end = end_of(&moved, |(moved, _)| Some(moved.copy.digest.root().to_string()));
        let recorded = store.end_disk(record, &end);
        let (moved, device_path) = moved?;
        recorded?;
        Ok(self.report(&volume, place.volume.is_some(), moved, device_path, capacity))
    }

    async fn provision(&self, place: &Place, capacity: u64) -> Result<Volume, PipelineError> {
        let (disk, has) = (&self.source.disk_id, Size(capacity));
        if let Some(volume) = &place.volume {
            self.watch
                .say(&format!("disk {disk}: {has} into volume {} again", volume.id));
            return Ok(volume.clone());
        }
        self.watch
            .say(&format!("disk {disk}: {has} into a new volume of {}", place.size));
        let name = names::volume_name(self.machine, &self.source.label);
        let wanted = Wanted {
            name: &name,
            size: place.size,
        };
        Ok(self
            .copier
            .volumes(self.source)
            .create(&place.key, &wanted)
            .await?)
    }

    async fn attach_and_move(
        &self,
        served: &Served,
        volume: &Volume,
        place: &Place,
    ) -> Result<(Moved, String), PipelineError> {
        let volumes = self.copier.volumes(self.source);
        let was_attached = volume.state == VolumeState::InUse;
        let attached = volumes.attach(volume).await;
        let moved = match attached {
            Ok(()) => self.open_and_move(served, volume).await,
            // Surely not attached.
            Err(error) if !was_attached && !error.is_undecided() => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        let stays = match &moved {
            Ok(_) => self.copier.settings.afterwards == Afterwards::StayAttached,
            Err(error) => error.is_leased() || place.attachment() == Attachment::Theirs,
        };
        if stays {
            return moved;
        }
        self.give_back(volume, moved).await
    }

    async fn give_back<T>(
        &self,
        volume: &Volume,
        moved: Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let id = volume.id;
        self.watch
            .say(&format!("disk {}: detaching volume {id}", self.source.disk_id));
        let detached = self.copier.volumes(self.source).detach(id).await;
        match (moved, detached) {
            (moved, Ok(())) => moved,
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(error), Err(detach)) => {
                let why = std::error::Error::source(&detach).map(|cause| format!(": {cause}"));
                let why = why.unwrap_or_default();
                self.watch
                    .say(&format!("volume {id} stays attached: {detach}{why}"));
                Err(error)
            }
        }
    }

    async fn open_and_move(
        &self,
        served: &Served,
        volume: &Volume,
    ) -> Result<(Moved, String), PipelineError> {
        if self.copier.cancel.is_cancelled() {
            return Err(PipelineError::Cancelled);
        }
        let purpose = if self.exports.is_some() {
            LeasePurpose::Export
        } else {
            LeasePurpose::Transfer
        };
        let volumes = self.copier.volumes(self.source);
        let tell = |text: &str| self.watch.say(&format!("disk {}: {text}", self.source.disk_id));
        let device = target::open(&volumes, volume.id, purpose, &tell).await?;
        let path = device.device().device_path.clone();
        self.watch.say(&format!(
            "disk {}: volume {} is {path}, verified",
            self.source.disk_id, volume.id
        ));
        let cancel = self.copier.cancel.child();
        let guard = stop_when_lost(&device, &cancel);
        let moved = self.through(served, &device, &cancel).await;
        let lost = device.lost();
        guard.abort();
        let closed = device.close().await;
        match moved {
            Err(error) if error.is_cancelled() && lost => Err(PipelineError::LeaseLost {
                volume: volume.id,
                disk: self.source.disk_id.clone(),
            }),
            Err(error) => Err(error),
            Ok(moved) => {
                match closed {
                    Ok(()) => {}
                    // The bytes are safe; the lease lapses by itself.
                    Err(error) if !matches!(error, ClientError::DeviceIo { .. }) => {
                        tracing::warn!(%error, "cannot release the lease");
                    }
                    Err(source) => {
                        let failed = TargetError::Daemon {
                            doing: "close the device",
                            subject: Subject::Disk(&self.source.disk_id).to_string(),
                            source,
                        };
                        return Err(failed.into());
                    }
                }
                Ok((moved, path))
            }
        }
    }

    fn report(
        &self,
        volume: &Volume,
        reused: bool,
        moved: Moved,
        device_path: String,
        capacity_bytes: u64,
    ) -> DiskReport {
        let Volume {
            id, name, size_bytes, ..
        } = volume;
        let totals = moved.copy.totals;
        DiskReport {
            disk_id: self.source.disk_id.clone(),
            label: self.source.label.clone(),
            capacity_bytes,
            volume_id: id.to_string(),
            volume_name: name.clone(),
            volume_bytes: *size_bytes,
            reused,
            device_path,
            route: if self.exports.is_some() {
                Route::Nbd
            } else {
                Route::Device
            },
            bytes_read: totals.bytes_read,
            bytes_written: totals.bytes_written,
            bytes_skipped: totals.bytes_skipped,
            bytes_zeroed: totals.bytes_zeroed,
            bytes_resumed: totals.bytes_resumed,
            copy_seconds: moved.copy.elapsed.as_secs_f64(),
            verify_seconds: moved.verified.as_ref().map(|report| report.elapsed.as_secs_f64()),
            bytes_verified: moved.verified.as_ref().map_or(0, |report| report.bytes_read),
            digest: DigestReport {
                source: moved.copy.digest.root().to_string(),
                target: moved
                    .verified
                    .filter(|_| self.copier.settings.verification == Verification::ReadBack)
                    .map(|report| report.found.root().to_string()),
            },
            attached: self.copier.settings.afterwards == Afterwards::StayAttached,
        }
    }
}

/// Stops the copy as soon as the lease is lost: from then on the device may become somebody else's.
pub(super) fn stop_when_lost(device: &OpenedDevice, cancel: &Cancel) -> tokio::task::JoinHandle<()> {
    let (lost, cancel) = (device.wait_lost(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = lost => cancel.cancel(),
            () = stopped(&cancel) => {}
        }
    })
}
