//! Copies all disks of a machine, one after the other, and reports what was done.

use std::sync::Arc;

use jiff::Timestamp;
use volume_client::VolumedClient;

use super::{PipelineError, disk};
use crate::block::Cancel;
use crate::config::CopySettings;
use crate::model::{CopyReport, Outcome, Route};
use crate::source::{self, SourceMachine};
use crate::store::Store;
use crate::target::Exports;
use crate::transfer::{Progress, RateLimit};

/// What a copy works with.
pub struct Copier {
    /// The daemon.
    pub client: VolumedClient,
    /// The engine's records.
    pub store: Arc<Store>,
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
    fn moving(&self, disk: &str, progress: &Arc<Progress>);

    /// They no longer move.
    fn done(&self);
}

impl Copier {
    /// Copies the machine that `spec` names: image, package or NBD address. The disks before one that fails stay copied.
    /// Repeating it after a failure, or after a crash, uses the same volumes again.
    pub async fn copy(&self, spec: &str, watch: &dyn Watch) -> (CopyReport, Option<PipelineError>) {
        let started_at = Timestamp::now();
        let mut report = CopyReport {
            source: spec.to_owned(),
            machine: String::new(),
            outcome: Outcome::Completed,
            error: None,
            started_at,
            finished_at: started_at,
            notes: Vec::new(),
            disks: Vec::new(),
        };
        let error = self.copy_into(spec, watch, &mut report).await.err();
        report.finished_at = Timestamp::now();
        if let Some(error) = &error {
            report.outcome = if error.is_cancelled() {
                Outcome::Cancelled
            } else {
                Outcome::Failed
            };
            report.error = Some(error.to_string());
        }
        (report, error)
    }

    async fn copy_into(
        &self,
        spec: &str,
        watch: &dyn Watch,
        report: &mut CopyReport,
    ) -> Result<(), PipelineError> {
        watch.say(&format!("opening {spec}"));
        let machine = tokio::select! {
            opened = source::open(spec, &self.sources) => opened?,
            () = cancelled(&self.cancel) => return Err(PipelineError::Cancelled),
        };
        report.machine = self
            .settings
            .machine
            .clone()
            .unwrap_or_else(|| machine.name.clone());
        report.notes.clone_from(&machine.notes);
        for note in &machine.notes {
            watch.say(&format!("note: {note}"));
        }
        self.refuse_nonsense(&machine)?;
        let exports = match self.settings.route {
            Route::Device => None,
            Route::Nbd => Some(Exports::connect(&self.settings.export).await?),
        };
        let rate = RateLimit::new(self.settings.rate);
        for source_disk in &machine.disks {
            if self.cancel.is_cancelled() {
                return Err(PipelineError::Cancelled);
            }
            let job = disk::Job {
                copier: self,
                machine: &report.machine,
                source: source_disk,
                exports: exports.as_ref(),
                rate: &rate,
                watch,
            };
            report.disks.push(job.run().await?);
        }
        Ok(())
    }

    /// What can be refused before anything is created.
    fn refuse_nonsense(&self, machine: &SourceMachine) -> Result<(), PipelineError> {
        for disk in &machine.disks {
            if let Some(capacity) = disk.capacity_bytes {
                disk::size_for(&disk.disk_id, capacity, self.settings.buffer)?;
            }
        }
        Ok(())
    }
}

/// Returns once somebody wants the copy stopped.
pub(super) async fn cancelled(cancel: &Cancel) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    while !cancel.is_cancelled() {
        look.tick().await;
    }
}
