//! Freezes the machine, decides for each disk what of it to copy, copies all at once, compares, and keeps the marks.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join_all;
use volume_client::OpenedDevice;

use super::choice::{Base, Mode, choose};
use super::deliver::Way;
use super::lane::Lane;
use super::{Attempt, ReplicationError};
use crate::block::{BlockRead, BlockWrite, Cancel, Durability, InitialContent, LocalDisk, NbdOptions};
use crate::config::{Begin, Verification};
use crate::model::Route;
use crate::pipeline::machine::{Doing, Watch};
use crate::pipeline::memory::{self, Memory};
use crate::pipeline::{PipelineError, disk, route, threads};
use crate::source::{Delivered, Frozen, FrozenDisk};
use crate::store::{FinishedDisk, Written};
use crate::transfer::{
    self, Binding, Copy, CopyOptions, CopyReport, Coverage, Expected, Progress, TransferError, VerifyOptions,
};

impl Attempt<'_> {
    /// Freezes the machine, and decides for each disk.
    pub(super) async fn freeze(&self, lanes: &mut [Lane]) -> Result<Box<dyn Frozen>, ReplicationError> {
        self.go_on()?;
        let frozen = match self.source.freeze(&self.machine, &self.cycle).await {
            Ok(frozen) => frozen,
            Err(error) => {
                if error.is_unknown
                    && let Err(left) = self.source.clean_up(&self.machine, &self.cycle.owner).await
                {
                    tracing::warn!(job = self.job.id, error = %left, "a snapshot may stay; the next attempt removes it");
                }
                return Err(error.into());
            }
        };
        match self.decide(lanes, &*frozen).await {
            Ok(()) => Ok(frozen),
            Err(error) => {
                if let Err(left) = frozen.release().await {
                    tracing::warn!(job = self.job.id, error = %left, "a snapshot stays; the next attempt removes it");
                }
                Err(error)
            }
        }
    }

    async fn decide(&self, lanes: &mut [Lane], frozen: &dyn Frozen) -> Result<(), ReplicationError> {
        for lane in lanes.iter_mut() {
            self.go_on()?;
            let same = |disk: &&FrozenDisk| disk.id == lane.disk.id && disk.capacity == lane.capacity;
            let disk = frozen.disks().iter().find(same).cloned();
            let disk = disk.ok_or_else(|| ReplicationError::DiskChanged {
                disk: lane.disk.label.clone(),
            })?;
            let state = self.replicator.store.disk_state(self.job.context, &disk.id)?;
            let tracking = self.replicator.settings.tracking;
            let base = Base::of(state, &lane.record.volume_id, self.job);
            let mark = base.as_ref().ok().and_then(|base| base.mark(tracking));
            let changes = frozen.changes(&disk, mark.as_ref()).await?;
            let (mode, reason) = choose(base, &changes, &disk, tracking);
            if let Some(reason) = &reason {
                let note = format!("disk {}: {reason}", lane.disk.label);
                self.replicator.store.add_note(self.turn, &note)?;
            }
            let allocated = match changes {
                crate::source::Changes::All { allocated, .. } => allocated,
                crate::source::Changes::Since(_) => None,
            };
            match frozen.courier() {
                None => lane.reader = Some(frozen.reader(&disk, allocated).await?),
                Some(_) => lane.allocated = allocated,
            }
            lane.record.mode = Some(mode.as_str().to_owned());
            lane.record.reason = reason;
            lane.record.change_id.clone_from(&disk.mark);
            lane.mode = mode;
            lane.frozen = Some(disk);
            self.note(lane)?;
        }
        Ok(())
    }

    /// Copies all disks at once, and keeps the mark of each that is flushed, compared, and surely of the frozen machine.
    /// Where one fails, the others go on: what they have done need not be done again.
    pub(super) async fn follow(
        &self,
        lanes: &mut [Lane],
        frozen: &dyn Frozen,
    ) -> Result<(), ReplicationError> {
        let copies = join_all(lanes.iter().map(|lane| self.copy_and_compare(lane, frozen))).await;
        // A copy that failed says more of why than what has become of the snapshot.
        let checked = frozen.check().await.map_err(ReplicationError::from);
        let mut outcome = Ok(());
        for (lane, copied) in lanes.iter_mut().zip(copies) {
            let kept = match copied {
                Ok(copied) if checked.is_ok() => self.keep(lane, copied),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            // A failure that somebody should see is told rather than that the others were stopped.
            outcome = match (outcome, kept) {
                (Err(first), Err(second)) if first.is_cancelled() && !second.is_cancelled() => Err(second),
                (Ok(()), Err(error)) | (Err(error), _) => Err(error),
                (Ok(()), Ok(())) => Ok(()),
            };
        }
        outcome.and(checked)
    }

    fn keep(&self, lane: &mut Lane, copied: Copied) -> Result<(), ReplicationError> {
        let Copied {
            moved,
            verified,
            memory,
        } = copied;
        let frozen = lane.frozen();
        let finished = FinishedDisk {
            disk_id: frozen.id.clone(),
            change_id: frozen.mark.clone(),
            capacity: frozen.capacity,
            digest: moved.digest.root().to_string(),
            blocks: moved.digest.to_bytes(),
        };
        self.replicator
            .store
            .finish_disks(self.turn, self.job.context, &[finished])?;
        if let Some(memory) = memory {
            memory.forget();
        }
        lane.record.data_bytes = Some(moved.totals.bytes_read);
        lane.record.bytes_written = Some(moved.totals.bytes_written);
        lane.record.bytes_verified = Some(verified);
        lane.record.digest = Some(moved.digest.root().to_string());
        self.note(lane)
    }

    async fn copy_and_compare(&self, lane: &Lane, frozen: &dyn Frozen) -> Result<Copied, ReplicationError> {
        let device = lane.device();
        let cancel = self.cancel.child();
        let guard = disk::stop_when_lost(device, &cancel);
        let copied = self.copy(lane, device, frozen, &cancel).await;
        guard.abort();
        match copied {
            Err(error) if error.is_cancelled() && device.lost() => {
                Err(ReplicationError::Disk(PipelineError::LeaseLost {
                    volume: lane.volume().id,
                    disk: lane.disk.id.clone(),
                }))
            }
            copied => copied,
        }
    }

    async fn copy(
        &self,
        lane: &Lane,
        device: &OpenedDevice,
        frozen: &dyn Frozen,
        cancel: &Cancel,
    ) -> Result<Copied, ReplicationError> {
        let initial = match device.known_zero() {
            true => InitialContent::Zero,
            false => InitialContent::Unknown,
        };
        let local = Arc::new(route::local(device, &lane.disk.id, initial)?);
        let watch = self.replicator.board.watch(&self.job.id);
        // From here on, something may be written.
        self.replicator.store.begin_writing(
            self.turn,
            self.job.context,
            &Written {
                disk_id: &lane.disk.id,
                label: &lane.disk.label,
                path: lane.disk.path.as_deref(),
                capacity: lane.capacity,
                volume_id: &lane.record.volume_id,
                content: lane.mode.content_meanwhile(),
            },
        )?;
        let settings = &self.replicator.settings;
        let (moved, memory) = match (frozen.courier(), &lane.publication, settings.route) {
            (Some(courier), Some(publication), _) => {
                let way = Way {
                    courier,
                    export: publication.reached_by_us()?,
                    initial,
                };
                self.send(lane, way, &local, &watch, cancel).await?
            }
            (None, Some(publication), Route::Nbd) => {
                let options = NbdOptions {
                    initial_content: initial,
                    ..route::to_export(settings.workers)
                };
                let writer = route::connect(publication.reached_by_us()?.to_owned(), options).await?;
                self.move_bytes(lane, writer, &watch, cancel).await?
            }
            _ => self.move_bytes(lane, Arc::clone(&local), &watch, cancel).await?,
        };
        let verified = self.read_back(lane, local, &moved, &watch, cancel).await?;
        Ok(Copied {
            moved,
            verified,
            memory,
        })
    }

    async fn move_bytes<W: BlockWrite + 'static>(
        &self,
        lane: &Lane,
        writer: Arc<W>,
        watch: &dyn Watch,
        cancel: &Cancel,
    ) -> Result<(Delivered, Option<Memory>), ReplicationError> {
        let settings = &self.replicator.settings;
        let memory = self.memory(lane, &*writer)?;
        let options = CopyOptions {
            workers: settings.workers,
            digest: settings.digest,
            rate: self.rate.share(),
            ..CopyOptions::default()
        };
        let reader = Arc::clone(
            lane.reader
                .as_ref()
                .expect("steps after the freezing find readers"),
        );
        let mode = lane.mode.clone();
        let work = move |progress: &Progress, cancel: &Cancel| {
            let copied = run(
                &*reader,
                &*writer,
                &options,
                &mode,
                memory.as_ref(),
                (progress, cancel),
            );
            let moved = copied.map(|report| Delivered {
                totals: report.totals,
                digest: report.digest,
            });
            moved.map(|moved| (moved, memory))
        };
        let moved = threads::on_threads(watch, Doing::Copying, &lane.disk.id, cancel, work).await?;
        Ok(moved.map_err(|source| failed("copy", lane, source))?)
    }

    pub(super) fn memory(
        &self,
        lane: &Lane,
        writer: &dyn BlockWrite,
    ) -> Result<Option<Memory>, ReplicationError> {
        let settings = &self.replicator.settings;
        let (Some(folder), Some(content)) = (&settings.journal_dir, &lane.frozen().content) else {
            return Ok(None);
        };
        if writer.durability() == Durability::NotOffered {
            return Ok(None);
        }
        let volume = lane.volume().id;
        let binding = Binding {
            source: format!("{content}, {}", lane.mode.binding()),
            source_size: lane.capacity,
            target: format!("volume {volume}"),
            target_size: writer.size(),
            digest: settings.digest,
        };
        let said = |text: &str| tracing::info!(job = self.job.id, disk = lane.disk.id, "{text}");
        let opened = memory::take_up(folder, volume, &binding, Begin::WhereItWas, &said);
        Ok(opened.map_err(|source| PipelineError::Journal {
            disk: lane.disk.id.clone(),
            source,
        })?)
    }

    /// Reads back what was written, or all of it, and compares. Returns how many bytes that were.
    async fn read_back(
        &self,
        lane: &Lane,
        local: Arc<LocalDisk>,
        moved: &Delivered,
        watch: &dyn Watch,
        cancel: &Cancel,
    ) -> Result<u64, ReplicationError> {
        let settings = &self.replicator.settings;
        let coverage = match settings.verification {
            Verification::Skip => return Ok(0),
            Verification::ReadBack => Coverage::EveryByte,
            Verification::Sample(percent) => Coverage::Sample(percent),
        };
        let only: Option<Vec<Range<u64>>> = match &lane.mode {
            Mode::Changed(_, ranges) => Some(ranges.to_vec()),
            Mode::Everything | Mode::Compared(_) => None,
        };
        let options = VerifyOptions {
            workers: settings.workers.max(VerifyOptions::default().workers),
            coverage,
            only,
            ..VerifyOptions::default()
        };
        let digest = moved.digest.clone();
        let work = move |progress: &Progress, cancel: &Cancel| {
            transfer::verify(&*local, Expected::Disk(&digest), &options, progress, cancel)
        };
        let compared = threads::on_threads(watch, Doing::ReadingBack, &lane.disk.id, cancel, work).await?;
        let compared = compared.map_err(|source| failed("read back", lane, source))?;
        match compared.is_equal() {
            true => Ok(compared.bytes_read),
            false => Err(route::different(lane.volume().id, &lane.disk.id, &compared).into()),
        }
    }
}

/// A disk that was copied and compared.
struct Copied {
    moved: Delivered,
    verified: u64,
    memory: Option<Memory>,
}

fn run(
    reader: &dyn BlockRead,
    writer: &dyn BlockWrite,
    options: &CopyOptions,
    mode: &Mode,
    memory: Option<&Memory>,
    (progress, cancel): (&Progress, &Cancel),
) -> Result<CopyReport, TransferError> {
    let copy = Copy::new(reader, writer, options);
    let copy = match mode {
        Mode::Everything => copy,
        Mode::Changed(base, ranges) => copy.changed(base, ranges),
        Mode::Compared(base) => copy.differing(base),
    };
    match memory {
        None => copy.run(progress, cancel),
        Some(Memory { journal, durable }) => copy.remembered(&**journal, durable).run(progress, cancel),
    }
}

fn failed(doing: &'static str, lane: &Lane, source: TransferError) -> PipelineError {
    PipelineError::Transfer {
        doing,
        disk: lane.disk.id.clone(),
        server: None,
        source: source.into(),
    }
}
