//! A job as the service tells it. What a later version adds is kept, and not understood.

use serde::Deserialize;
use serde_json::Value;

use crate::model::JobStatus;

/// A job of replication. Sizes in bytes, times in RFC 3339.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    /// `job-YYYYMMDD-HHMMSS`.
    pub id: String,
    /// How it stands.
    pub status: JobStatus,
    /// What is done now, in words.
    pub phase: String,
    /// `initial` or `incremental`.
    pub replication_type: String,
    /// Somebody wants it stopped.
    pub cancel_requested: bool,
    /// How often it was begun.
    pub attempts: u32,
    /// The machine.
    pub vm_name: String,
    /// Where it is in its source.
    pub vm_path: String,
    /// Its source.
    pub vcenter_host: String,
    /// How far the bytes are.
    pub progress: Moved,
    /// Why it failed.
    pub error: Option<JobError>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The steps of all attempts.
    pub steps: Vec<JobStep>,
    /// Its disks.
    pub disks: Vec<JobDisk>,
    /// When it was asked for.
    pub created_at: String,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
    /// All that the service said.
    #[serde(skip)]
    pub whole: Value,
}

/// How far the bytes are: those that really have to move.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Moved {
    /// Of a hundred.
    pub percent: Option<u64>,
    /// What has to move.
    pub data_bytes: u64,
    /// What has moved.
    pub data_done_bytes: u64,
    /// How fast.
    pub rate_bytes_per_second: Option<u64>,
    /// How long it still takes.
    pub eta_seconds: Option<u64>,
}

/// Why a job failed.
#[derive(Debug, Clone, Deserialize)]
pub struct JobError {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One of the seven steps.
#[derive(Debug, Clone, Deserialize)]
pub struct JobStep {
    /// Of which attempt.
    pub attempt: u32,
    /// Which, from 1.
    pub step: u8,
    /// Its name.
    pub name: String,
    /// `running`, `done`, `failed`, `cancelled` or `interrupted`.
    pub status: String,
    /// What happened.
    pub detail: Option<String>,
    /// When it began.
    pub began_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// A disk and its volume.
#[derive(Debug, Clone, Deserialize)]
pub struct JobDisk {
    /// The disk in its machine.
    pub disk_id: String,
    /// The volume.
    pub volume_id: String,
    /// What was read of it: all, or what changed.
    pub mode: Option<String>,
    /// Why that.
    pub reason: Option<String>,
    /// The device as it was seen then.
    pub device_path: Option<String>,
    /// The export.
    pub export_name: Option<String>,
    /// What had to move.
    pub data_bytes: Option<u64>,
    /// What was written.
    pub written_bytes: Option<u64>,
    /// What was read back.
    pub verified_bytes: Option<u64>,
}

impl Job {
    /// Reads what the service said.
    ///
    /// # Errors
    /// Where that is no job.
    pub(super) fn read(whole: Value) -> Result<Self, serde_json::Error> {
        let job = Self::deserialize(&whole)?;
        Ok(Self { whole, ..job })
    }

    /// The name of the step that is taken now.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        let running = self.steps.iter().rev().find(|step| step.status == "running");
        running.map(|step| step.name.as_str())
    }

    /// Since when it stands as it stands.
    #[must_use]
    pub fn since(&self) -> &str {
        let since = self.completed_at.as_ref().or(self.started_at.as_ref());
        since.unwrap_or(&self.created_at)
    }
}
