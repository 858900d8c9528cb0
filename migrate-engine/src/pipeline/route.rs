//! The way of the bytes: to the device itself, or through its published export; then back from the device for comparison.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use volume_client::OpenedDevice;
use volume_client::types::VolumeId;

use super::PipelineError;
use super::disk::{Job, Moved, Served};
use super::machine::Doing;
use super::memory::Memory;
use super::publication::{Publication, Records};
use super::threads::on_threads;
use crate::block::nbd::depth_for;
use crate::block::{
    BlockError, BlockWrite, Cancel, Durability, InitialContent, LocalDisk, LocalDiskOptions, NbdExport,
    NbdOptions,
};
use crate::config::{CopySettings, Verification};
use crate::target::Exports;
use crate::transfer::{
    self, Copy, CopyOptions, CopyReport, Coverage, DiskDigest, Expected, Progress, TransferError,
    VerifyOptions, VerifyReport,
};

/// A copy that was made, and the journal of it.
type Remembered = (CopyReport, Option<Memory>);

/// How the source's server is read.
pub(super) fn reading(settings: &CopySettings) -> NbdOptions {
    to_export(settings.workers)
}

/// How an export of ours is written to.
pub(super) fn to_export(workers: usize) -> NbdOptions {
    NbdOptions {
        connections: workers,
        most_depth: depth_for(workers),
        ..NbdOptions::default()
    }
}

/// As [`reading`], from a server of ours: where that ends, nobody starts it again.
pub(super) fn reading_ours(settings: &CopySettings) -> NbdOptions {
    NbdOptions {
        reconnect_for: Duration::ZERO,
        ..reading(settings)
    }
}

/// Connects to an export on a thread where blocking is allowed.
pub(super) async fn connect(uri: String, options: NbdOptions) -> Result<Arc<NbdExport>, PipelineError> {
    let parsed = uri
        .parse()
        .map_err(|e: crate::block::nbd::NbdUriError| PipelineError::Address {
            uri: crate::source::shown(&uri),
            why: e.to_string(),
        })?;
    let connected = tokio::task::spawn_blocking(move || NbdExport::connect(parsed, options)).await;
    let connected = connected.map_err(|_| PipelineError::Panicked)?;
    connected
        .map(Arc::new)
        .map_err(|source| PipelineError::Connect { uri, source })
}

/// A device, to be written to and read back.
pub(super) fn local(
    device: &OpenedDevice,
    disk: &str,
    initial_content: InitialContent,
) -> Result<LocalDisk, PipelineError> {
    let failed = |source| PipelineError::Device {
        path: device.device().device_path.clone(),
        disk: disk.to_owned(),
        source,
    };
    let descriptor = device.try_clone().map_err(|source| {
        failed(BlockError::System {
            action: "share the descriptor",
            source,
        })
    })?;
    let options = LocalDiskOptions {
        initial_content,
        ..LocalDiskOptions::default()
    };
    LocalDisk::new(OwnedFd::from(descriptor), options).map_err(failed)
}

/// That a volume does not hold what its disk holds.
pub(super) fn different(volume: VolumeId, disk: &str, report: &VerifyReport) -> PipelineError {
    let places: Vec<_> = report
        .first_mismatches
        .iter()
        .map(|m| format!("{}-{}", m.start, m.end))
        .collect();
    let blocks = report
        .differing_blocks
        .map_or_else(|| "some".to_owned(), |n| n.to_string());
    PipelineError::Different {
        volume,
        disk: disk.to_owned(),
        what: format!("{blocks} blocks differ, first at bytes {}", places.join(", ")),
    }
}

impl Job<'_> {
    /// Moves the bytes, and reads them back from the device.
    pub(super) async fn through(
        &self,
        served: &Served,
        device: &OpenedDevice,
        cancel: &Cancel,
    ) -> Result<Moved, PipelineError> {
        let initial = if device.known_zero() {
            InitialContent::Zero
        } else {
            InitialContent::Unknown
        };
        let local = Arc::new(local(device, &self.source.disk_id, initial)?);
        let volume = device.device().volume_id;
        let (copy, memory) = match self.exports {
            None => self.move_bytes(served, volume, local.clone(), cancel).await?,
            Some(exports) => {
                self.move_through_export(exports, served, device, initial, cancel)
                    .await?
            }
        };
        let coverage = match self.copier.settings.verification {
            Verification::Skip => None,
            Verification::ReadBack => Some(Coverage::EveryByte),
            Verification::Sample(percent) => Some(Coverage::Sample(percent)),
        };
        let verified = match coverage {
            None => None,
            Some(coverage) => Some(self.read_back(local, &copy.digest, coverage, cancel).await?),
        };
        if let Some(memory) = memory {
            memory.forget();
        }
        match verified.as_ref().filter(|report| !report.is_equal()) {
            None => Ok(Moved { copy, verified }),
            Some(report) => Err(different(volume, &self.source.disk_id, report)),
        }
    }

    /// Publishes the device, moves the bytes through the export, and withdraws it in any case.
    async fn move_through_export(
        &self,
        exports: &Exports,
        served: &Served,
        device: &OpenedDevice,
        initial_content: InitialContent,
        cancel: &Cancel,
    ) -> Result<Remembered, PipelineError> {
        let records = Records {
            store: &self.copier.store,
            run: &self.copier.run,
            listen: &self.copier.settings.export.listen,
        };
        let publication = Publication::begin(exports, records, device).await?;
        let copied = async {
            let (disk, uri) = (&self.source.disk_id, &publication.uri);
            self.watch.say(&format!("disk {disk}: published as {uri}"));
            let options = NbdOptions {
                initial_content,
                ..reading(&self.copier.settings)
            };
            let writer = connect(publication.reached_by_us()?.to_owned(), options).await?;
            self.move_bytes(served, device.device().volume_id, writer, cancel)
                .await
        }
        .await;
        let ended = publication.end(exports, &self.copier.store).await;
        let copied = copied?;
        ended?;
        Ok(copied)
    }

    async fn move_bytes<W: BlockWrite + 'static>(
        &self,
        served: &Served,
        volume: VolumeId,
        writer: Arc<W>,
        cancel: &Cancel,
    ) -> Result<Remembered, PipelineError> {
        let memory = self.memory(volume, &*writer)?;
        let options = CopyOptions {
            workers: self.copier.settings.workers,
            digest: self.copier.settings.digest,
            rate: self.rate.clone(),
            ..CopyOptions::default()
        };
        let reader = Arc::clone(&served.reader);
        let work = move |progress: &Progress, cancel: &Cancel| {
            let copy = Copy::new(&*reader, &*writer, &options);
            let copied = match &memory {
                None => copy.run(progress, cancel),
                Some(Memory { journal, durable }) => {
                    copy.remembered(&**journal, durable).run(progress, cancel)
                }
            };
            copied.map(|report| (report, memory))
        };
        let copied = on_threads(self.watch, Doing::Copying, &self.source.disk_id, cancel, work).await?;
        let (report, memory) =
            copied.map_err(|source| self.failed("copy", Some(served.disk.server_words()), source))?;
        if report.durability == Durability::NotOffered {
            self.watch.say(
                "warning: the export offers no flush; whether the bytes are on the disk is its own affair",
            );
        }
        Ok((report, memory))
    }

    async fn read_back(
        &self,
        local: Arc<LocalDisk>,
        digest: &DiskDigest,
        coverage: Coverage,
        cancel: &Cancel,
    ) -> Result<VerifyReport, PipelineError> {
        let digest = digest.clone();
        let options = VerifyOptions {
            workers: self.copier.settings.workers.max(VerifyOptions::default().workers),
            coverage,
            ..VerifyOptions::default()
        };
        let work = move |progress: &Progress, cancel: &Cancel| {
            transfer::verify(&*local, Expected::Disk(&digest), &options, progress, cancel)
        };
        let compared = on_threads(self.watch, Doing::ReadingBack, &self.source.disk_id, cancel, work).await?;
        compared.map_err(|source| self.failed("read back", None, source))
    }

    fn failed(&self, doing: &'static str, server: Option<String>, source: TransferError) -> PipelineError {
        PipelineError::Transfer {
            doing,
            disk: self.source.disk_id.clone(),
            server,
            source: source.into(),
        }
    }
}
