//! A job of replication as callers see it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::problem::Problem;
use super::transfers::whole;
use crate::model::{JobStatus, Size};
use crate::pipeline::{Board, Desk, Transfer};
use crate::store::{ContextRow, JobDisk, JobRow, StepRow};

/// A job. Sizes in bytes, times in RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replication)]
pub(super) struct JobView {
    /// `job-YYYYMMDD-HHMMSS` in UTC.
    pub(super) id: String,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    #[schema(value_type = crate::model::Phase)]
    phase: String,
    #[schema(value_type = crate::model::ReplicationType)]
    replication_type: &'static str,
    /// Somebody wants it stopped. It is when it is `cancelled`.
    cancel_requested: bool,
    /// How often it was begun.
    attempts: u32,
    /// The machine's context.
    vm_context_id: i64,
    vm_name: String,
    vm_path: String,
    vcenter_host: String,
    progress: Progress,
    /// What is to be said of it once it ended; empty until then.
    conditions: Vec<Condition>,
    /// What went wrong last.
    error: Option<Failure>,
    /// What a person should know, one sentence each.
    notes: Vec<String>,
    /// The steps of each attempt, in their order.
    steps: Vec<StepView>,
    disks: Vec<DiskView>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(format = DateTime)]
    completed_at: Option<String>,
}

/// How far the bytes are: those that really have to move.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ReplicationProgress)]
struct Progress {
    /// Nothing where it is not known yet.
    percent: Option<u64>,
    /// What really has to move; falls while holes are found.
    data_bytes: u64,
    data_done_bytes: u64,
    /// Smoothed.
    rate_bytes_per_second: Option<u64>,
    /// From what of the data is left.
    eta_seconds: Option<u64>,
}

/// What is to be said of a job that ended.
#[derive(Debug, Serialize, ToSchema)]
struct Condition {
    /// `Succeeded`, `Failed` or `Canceled`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `Advisory` or `Critical`.
    category: &'static str,
    message: String,
    #[schema(format = DateTime)]
    since: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
struct Failure {
    /// One word for it; docs/replication.md lists them.
    code: Option<String>,
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

/// A step of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
struct StepView {
    /// The attempt that it belongs to.
    attempt: u32,
    /// From 1 to 7.
    step: u8,
    name: String,
    /// `running`, `done`, `failed`, `cancelled`, or `interrupted`: the process ended.
    status: String,
    detail: Option<String>,
    #[schema(format = DateTime)]
    began_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

/// What became of a disk in a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplicatedDisk)]
struct DiskView {
    /// The source's own id of it.
    disk_id: String,
    /// The volume that it goes into.
    volume_id: String,
    /// `everything`, `changed` or `compared`.
    mode: Option<String>,
    /// Why not only what changed.
    reason: Option<String>,
    device_path: Option<String>,
    export_name: Option<String>,
    /// From where on the next replication asks for changes.
    change_id: Option<String>,
    data_bytes: Option<u64>,
    written_bytes: Option<u64>,
    verified_bytes: Option<u64>,
    digest: Option<String>,
}

impl JobView {
    /// The whole of it, with steps and disks.
    pub(super) fn whole(job: JobRow, desk: &Desk, board: &Board) -> Result<Self, Problem> {
        let context = desk.context(&job)?;
        let steps = desk
            .store()
            .steps(&job.id)
            .map_err(crate::pipeline::Refusal::from)?;
        let disks = desk
            .store()
            .job_disks(&job.id)
            .map_err(crate::pipeline::Refusal::from)?;
        Ok(Self::of(job, context, steps, disks, board))
    }

    fn of(job: JobRow, context: ContextRow, steps: Vec<StepRow>, disks: Vec<JobDisk>, board: &Board) -> Self {
        let attempts = job.attempts;
        let is_running = job.status == JobStatus::Running;
        Self {
            progress: Progress::of(&job, &disks, board),
            conditions: condition(&job, &disks).into_iter().collect(),
            error: job.error.map(|message| Failure {
                code: job.error_code,
                message,
                hint: job.hint,
            }),
            id: job.id,
            status: job.status.as_str(),
            phase: job.phase,
            replication_type: job.replication_type.as_str(),
            cancel_requested: job.cancel_requested,
            attempts,
            vm_context_id: context.id,
            vm_name: context.vm_name,
            vm_path: context.vm_path,
            vcenter_host: context.vcenter_host,
            notes: job.notes,
            steps: steps
                .into_iter()
                .map(|step| StepView::of(step, is_running.then_some(attempts)))
                .collect(),
            disks: disks.into_iter().map(DiskView::of).collect(),
            created_at: job.created_at,
            started_at: job.started_at,
            updated_at: job.updated_at,
            completed_at: job.completed_at,
        }
    }
}

impl Progress {
    fn of(job: &JobRow, disks: &[JobDisk], board: &Board) -> Self {
        let is_ours = |transfer: &Transfer| transfer.source == job.id && transfer.ended_at.is_none();
        let moving: Vec<_> = board.transfers().into_iter().filter(is_ours).collect();
        if moving.is_empty() {
            let moved = disks.iter().filter_map(|disk| disk.data_bytes).sum();
            return Self {
                percent: (job.status == JobStatus::Completed).then_some(100),
                data_bytes: moved,
                data_done_bytes: moved,
                ..Self::default()
            };
        }
        let sum = |number: fn(&Transfer) -> u64| moving.iter().map(number).sum::<u64>();
        let data_bytes = sum(|t| t.progress.data_bytes);
        let data_done_bytes = sum(|t| t.progress.data_done);
        let rates: Vec<_> = moving.iter().filter_map(|t| t.progress.rate).collect();
        Self {
            percent: (data_done_bytes * 100).checked_div(data_bytes),
            data_bytes,
            data_done_bytes,
            rate_bytes_per_second: (!rates.is_empty()).then(|| whole(rates.iter().sum())),
            eta_seconds: moving
                .iter()
                .filter_map(|t| t.progress.eta)
                .max()
                .map(|eta| eta.as_secs()),
        }
    }
}

fn condition(job: &JobRow, disks: &[JobDisk]) -> Option<Condition> {
    let (kind, category, message) = match job.status {
        JobStatus::Pending | JobStatus::Running => return None,
        JobStatus::Completed => {
            let written: u64 = disks.iter().filter_map(|disk| disk.bytes_written).sum();
            let message = format!("{} disks replicated, {} written", disks.len(), Size(written));
            ("Succeeded", "Advisory", message)
        }
        JobStatus::Failed => ("Failed", "Critical", job.error.clone().unwrap_or_default()),
        JobStatus::Cancelled => (
            "Canceled",
            "Advisory",
            "stopped on request; everything was given back".to_owned(),
        ),
    };
    Some(Condition {
        kind,
        category,
        message,
        since: job.completed_at.clone(),
    })
}

impl StepView {
    /// `running` is the attempt that is under way.
    fn of(step: StepRow, running: Option<u32>) -> Self {
        let meanwhile = match running == Some(step.attempt) {
            true => "running",
            false => "interrupted",
        };
        Self {
            attempt: step.attempt,
            step: step.step,
            name: step.name,
            status: step.outcome.unwrap_or_else(|| meanwhile.to_owned()),
            detail: step.detail,
            began_at: step.began_at,
            ended_at: step.ended_at,
        }
    }
}

impl DiskView {
    fn of(disk: JobDisk) -> Self {
        Self {
            disk_id: disk.disk_id,
            volume_id: disk.volume_id,
            mode: disk.mode,
            reason: disk.reason,
            device_path: disk.device_path,
            export_name: disk.export_name,
            change_id: disk.change_id,
            data_bytes: disk.data_bytes,
            written_bytes: disk.bytes_written,
            verified_bytes: disk.bytes_verified,
            digest: disk.digest,
        }
    }
}

/// A machine as its replications left it.
pub(super) fn context_view(context: &ContextRow) -> Value {
    json!({
        "id": context.id,
        "vm_name": context.vm_name,
        "vcenter_host": context.vcenter_host,
        "vm_id": context.vm_id,
        "vm_path": context.vm_path,
        "current_status": context.status.as_str(),
        "total_jobs": context.total_jobs,
        "successful_jobs": context.successful_jobs,
        "failed_jobs": context.failed_jobs,
        "cancelled_jobs": context.cancelled_jobs,
        "last_job_id": context.last_job,
        "last_successful_job_id": context.last_successful_job,
        "specification": serde_json::from_str::<Value>(&context.specification).unwrap_or_default(),
        "updated_at": context.updated_at,
        "asked_at": Timestamp::now().to_string(),
    })
}
