//! Answers of the service, for tests of those who show them.

use serde_json::{Value, json};

use super::Job;

/// A running job, edited.
pub(in super::super) fn job(edit: impl FnOnce(&mut Value)) -> Job {
    let mut job = json!({
        "id": "job-20261130-200000", "status": "running", "phase": "DiskTransfer", "replication_type": "initial",
        "cancel_requested": false, "attempts": 1, "vm_context_id": 1, "vm_name": "web", "vm_path": "/DC/vm/web",
        "vcenter_host": "vc", "conditions": [], "error": null, "notes": [], "steps": [], "disks": [],
        "progress": {"percent": null, "data_bytes": 0, "data_done_bytes": 0, "rate_bytes_per_second": null, "eta_seconds": null},
        "created_at": "2026-11-30T20:00:00Z", "started_at": null, "updated_at": "2026-11-30T20:00:00Z",
        "completed_at": null,
    });
    edit(&mut job);
    Job::read(job).unwrap()
}
