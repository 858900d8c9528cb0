//! Copies all disks of a machine, one after the other, and reports what was done.

use std::sync::Arc;

use jiff::Timestamp;
use volume_client::VolumedClient;

use super::{PipelineError, disk};
use crate::block::Cancel;
use crate::config::CopySettings;
use crate::model::{CopyReport, Outcome, Route};
use crate::source::{self, SourceMachine};
use crate::store::{Run, Store};
use crate::target::{Exports, stopped};
use crate::transfer::{Progress, RateLimit};

/// What a copy works with.
pub struct Copier {
    /// The daemon.
    pub client: VolumedClient,
    /// The engine's records.
    pub store: Arc<Store>,
    /// This run, whose folders hold what is needed for as long as it lives.
    pub run: Run,
    /// How sources are opened.
    pub sources: source::Options,
    /// How the copy goes.
    pub settings: CopySettings,
    /// Stops it.
    pub cancel: Cancel,
}

/// Who watches a copy. Calls are short.
pub trait Watch: Send + Sync {
    /// A sentence about what is done now.
    fn say(&self, text: &str);

    /// The bytes of a disk begin to move; `progress` is live until [`done`](Self::done).
    fn moving(&self, doing: Doing, disk: &str, progress: &Arc<Progress>);

    /// They no longer move.
    fn done(&self);
}

/// Why bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// From the source to the volume.
    Copying,
    /// From the volume, to be compared.
    ReadingBack,
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copying => "copying",
            Self::ReadingBack => "reading back",
        })
    }
}

/// Both are told everything.
impl<A: Watch, B: Watch> Watch for (A, B) {
    fn say(&self, text: &str) {
        self.0.say(text);
        self.1.say(text);
    }

    fn moving(&self, doing: Doing, disk: &str, progress: &Arc<Progress>) {
        self.0.moving(doing, disk, progress);
        self.1.moving(doing, disk, progress);
    }

    fn done(&self) {
        self.0.done();
        self.1.done();
    }
}

impl Copier {
    /// Copies the machine that `spec` names: image, package or NBD address. The disks before one that fails stay copied.
    /// Repeating it after a failure, or after a crash, uses the same volumes again.
    pub async fn copy(&self, spec: &str, watch: &dyn Watch) -> (CopyReport, Option<PipelineError>) {
        let mut report = CopyReport::begun(&source::shown(spec), Timestamp::now());
        let error = self.copy_into(spec, watch, &mut report).await.err();
        report.finished_at = Timestamp::now();
        if let Some(error) = &error {
            let outcome = match error.is_cancelled() {
                true => Outcome::Cancelled,
                false => Outcome::Failed,
            };
            report.fail(outcome, error, error.hint());
        }
        (report, error)
    }

    async fn copy_into(
        &self,
        spec: &str,
        watch: &dyn Watch,
        report: &mut CopyReport,
    ) -> Result<(), PipelineError> {
        let machine = self.open(spec, watch).await?;
        let own_name = machine.name.clone();
        report.machine = self.settings.machine.clone().unwrap_or(own_name);
        report.notes.clone_from(&machine.notes);
        report.not_copied = machine.disks.iter().map(|disk| disk.disk_id.clone()).collect();
        for note in &machine.notes {
            watch.say(&format!("note: {note}"));
        }
        // All that can be refused is refused before anything is created.
        for disk in &machine.disks {
            if let Some(capacity) = disk.capacity_bytes {
                self.place(&report.machine, disk, capacity).await?;
            }
        }
        let exports = match self.settings.route {
            Route::Device => None,
            Route::Nbd => Some(Exports::connect(&self.settings.export).await?),
        };
        let copied = self.copy_disks(&machine, exports.as_ref(), watch, report).await;
        if let Some(exports) = &exports
            && let Err(error) = exports.stop_if_idle().await
        {
            tracing::warn!(%error, "the NBD server goes on");
        }
        copied
    }

    async fn open(&self, spec: &str, watch: &dyn Watch) -> Result<SourceMachine, PipelineError> {
        // Before hours are spent on unpacking.
        self.client.status().await.map_err(PipelineError::Daemon)?;
        watch.say(&format!("opening {}", source::shown(spec)));
        tokio::select! {
            opened = source::open(spec, &self.sources) => Ok(opened?),
            () = stopped(&self.cancel) => Err(PipelineError::Cancelled),
        }
    }

    async fn copy_disks(
        &self,
        machine: &SourceMachine,
        exports: Option<&Exports>,
        watch: &dyn Watch,
        report: &mut CopyReport,
    ) -> Result<(), PipelineError> {
        let record = self.store.begin_machine(&report.source, &report.machine)?;
        let rate = RateLimit::new(self.settings.rate);
        let mut copied = Ok(());
        for source_disk in &machine.disks {
            let job = disk::Job {
                copier: self,
                copy: record,
                machine: &report.machine,
                source: source_disk,
                exports,
                rate: &rate,
                watch,
            };
            match job.run().await {
                Ok(disk) => {
                    report.not_copied.retain(|id| *id != disk.disk_id);
                    report.disks.push(disk);
                }
                Err(error) => {
                    copied = Err(error);
                    break;
                }
            }
        }
        let recorded = self.store.end_machine(record, &disk::end_of(&copied, |()| None));
        copied.and_then(|()| Ok(recorded?))
    }
}
