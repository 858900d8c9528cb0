//! Copies one disk into its volume: provision, attach, prove, move, flush, read back, give back.

use std::sync::Arc;

use volume_client::OpenedDevice;
use volume_client::types::{LeasePurpose, SourceDisk as SourceKey, Volume};

use super::machine::{Copier, Watch, cancelled};
use super::{PipelineError, names, route};
use crate::block::{BlockRead, Cancel, NbdExport};
use crate::config::{Afterwards, Existing};
use crate::model::{DigestReport, DiskReport, Route, Size, volume_size};
use crate::source::{ServedDisk, SourceDisk};
use crate::store::CopyEnd;
use crate::target::{Exports, TargetError, TargetVolume, Wanted, provision};
use crate::transfer::{self, RateLimit, VerifyReport};

/// One disk to copy.
pub(super) struct Job<'a> {
    pub(super) copier: &'a Copier,
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

/// How large the volume for a disk is made.
pub(super) fn size_for(disk: &str, capacity: u64, buffer: Size) -> Result<Size, PipelineError> {
    volume_size(capacity, buffer).ok_or_else(|| PipelineError::TooLarge {
        disk: disk.to_owned(),
        capacity,
    })
}

impl Job<'_> {
    /// Copies the disk. Whatever happens, what this run attached is detached again unless it is to stay.
    pub(super) async fn run(&self) -> Result<DiskReport, PipelineError> {
        let disk = self.source.serve(&self.copier.sources).await?;
        let reader = route::connect(disk.uri().to_owned(), route::reading(&self.copier.settings)).await?;
        let served = Served { disk, reader };
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
        let name = names::volume_name(self.machine, &self.source.label);
        let size = size_for(disk, capacity, self.copier.settings.buffer)?;
        let wanted = Wanted {
            name: &name,
            size,
            needs: Size(capacity),
        };
        self.watch.say(&format!(
            "disk {disk}: {} into a volume of {size}",
            Size(capacity)
        ));
        let key = names::source_disk(self.machine, self.source.path.as_deref(), disk);
        self.refuse_occupied(&key).await?;
        let timeout = self.copier.settings.operation_timeout;
        let target = provision(&self.copier.client, &key, &wanted, timeout).await?;

        let record = self
            .copier
            .store
            .begin_copy(&target.volume.id.to_string(), &key.vm, &key.disk)?;
        let moved = self.move_and_give_back(served, &target).await;
        let end = match &moved {
            Ok((moved, _)) => CopyEnd::Completed {
                digest: moved.copy.digest.root().to_string(),
            },
            Err(error) if error.is_cancelled() => CopyEnd::Cancelled,
            Err(error) => CopyEnd::Failed {
                error: error.to_string(),
            },
        };
        self.copier.store.end_copy(record, &end)?;
        let (moved, device_path) = moved?;
        Ok(self.report(&target, moved, device_path, capacity))
    }

    /// A volume that holds a finished copy, or that somebody else wrote to, is not written over unasked.
    async fn refuse_occupied(&self, key: &SourceKey) -> Result<(), PipelineError> {
        let disk = || self.source.disk_id.clone();
        let found = self
            .copier
            .client
            .volume_of_source(key)
            .await
            .map_err(|source| TargetError::Daemon {
                doing: "look for the volume",
                disk: disk(),
                source,
            })?;
        let overwritable = self.copier.settings.existing == Existing::Overwrite;
        let Some(volume) = found.filter(|_| !overwritable) else {
            return Ok(());
        };
        let why = match self.copier.store.latest_copy(&volume.id.to_string())?.as_deref() {
            Some("completed") => "holds a finished copy of it",
            Some(_) => return Ok(()),
            None if volume.known_zero => return Ok(()),
            None => "holds something that this engine has no record of",
        };
        Err(PipelineError::Occupied {
            volume: volume.id,
            disk: disk(),
            why,
        })
    }

    async fn move_and_give_back(
        &self,
        served: &Served,
        target: &TargetVolume,
    ) -> Result<(Moved, String), PipelineError> {
        let moved = self.open_and_move(served, target).await;
        let stay = match &moved {
            Ok(_) => self.copier.settings.afterwards == Afterwards::StayAttached,
            Err(_) => target.was_attached,
        };
        if stay {
            return moved;
        }
        self.watch.say(&format!(
            "disk {}: detaching volume {}",
            self.source.disk_id, target.volume.id
        ));
        let detached = target
            .detach(&self.copier.client, self.copier.settings.operation_timeout)
            .await;
        match (moved, detached) {
            (Ok(moved), Ok(())) => Ok(moved),
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(detach)) => {
                self.watch
                    .say(&format!("volume {} stays attached: {detach}", target.volume.id));
                Err(error)
            }
        }
    }

    async fn open_and_move(
        &self,
        served: &Served,
        target: &TargetVolume,
    ) -> Result<(Moved, String), PipelineError> {
        let purpose = if self.exports.is_some() {
            LeasePurpose::Export
        } else {
            LeasePurpose::Transfer
        };
        let device = target
            .open(&self.copier.client, purpose, &self.source.disk_id)
            .await?;
        let path = device.device().device_path.clone();
        self.watch.say(&format!(
            "disk {}: volume {} is {path}, verified",
            self.source.disk_id, target.volume.id
        ));
        let cancel = self.copier.cancel.child();
        let guard = stop_when_lost(&device, &cancel);
        let moved = self.through(served, &device, &cancel).await;
        let lost = device.lost();
        guard.abort();
        let closed = device.close().await;
        match moved {
            Err(error) if error.is_cancelled() && lost => Err(PipelineError::LeaseLost {
                volume: target.volume.id,
                disk: self.source.disk_id.clone(),
            }),
            Err(error) => Err(error),
            Ok(moved) => {
                let disk = self.source.disk_id.clone();
                closed.map_err(|source| TargetError::Daemon {
                    doing: "close the device",
                    disk,
                    source,
                })?;
                Ok((moved, path))
            }
        }
    }

    fn report(
        &self,
        target: &TargetVolume,
        moved: Moved,
        device_path: String,
        capacity_bytes: u64,
    ) -> DiskReport {
        let Volume {
            id, name, size_bytes, ..
        } = &target.volume;
        let totals = moved.copy.totals;
        DiskReport {
            disk_id: self.source.disk_id.clone(),
            label: self.source.label.clone(),
            capacity_bytes,
            volume_id: id.to_string(),
            volume_name: name.clone(),
            volume_bytes: *size_bytes,
            reused: target.reused,
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
            copy_seconds: moved.copy.elapsed.as_secs_f64(),
            verify_seconds: moved.verified.as_ref().map(|report| report.elapsed.as_secs_f64()),
            digest: DigestReport {
                source: moved.copy.digest.root().to_string(),
                target: moved.verified.map(|report| report.found.root().to_string()),
            },
            attached: self.copier.settings.afterwards == Afterwards::StayAttached,
        }
    }
}

/// Stops the copy as soon as the lease is lost: from then on the device may become somebody else's.
fn stop_when_lost(device: &OpenedDevice, cancel: &Cancel) -> tokio::task::JoinHandle<()> {
    let (lost, cancel) = (device.wait_lost(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = lost => cancel.cancel(),
            () = cancelled(&cancel) => {}
        }
    })
}
