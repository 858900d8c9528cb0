//! Everything that there is to say of one job.

use std::fmt::Write as _;

use super::super::client::{Job, JobDisk, JobStep};
use super::super::plain::plain;
use super::super::table::Table;
use super::words::{between, moment, moved, standing};
use crate::model::Size;

pub(super) fn text(job: &Job) -> String {
    let mut text = format!("{}  {}\n", plain(&job.id), standing(job));
    for (name, value) in facts(job) {
        let _ = writeln!(text, "  {name:<9} {}", plain(&value));
    }
    if !job.steps.is_empty() {
        let _ = write!(text, "\n{}", steps(&job.steps));
    }
    if !job.disks.is_empty() {
        let _ = write!(text, "\n{}", disks(&job.disks));
    }
    text
}

fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        (
            "machine",
            format!("{} ({} of {})", job.vm_name, job.vm_path, job.vcenter_host),
        ),
        ("type", job.replication_type.clone()),
        ("phase", job.phase.clone()),
        ("moved", moved(job)),
        ("attempts", job.attempts.to_string()),
        ("asked for", moment(&job.created_at)),
    ];
    let times = [("began", &job.started_at), ("ended", &job.completed_at)];
    for (name, time) in times {
        facts.extend(time.as_deref().map(|time| (name, moment(time))));
    }
    if let Some(error) = &job.error {
        facts.push(("error", error.message.clone()));
        facts.extend(error.hint.clone().map(|hint| ("hint", hint)));
    }
    facts.extend(job.notes.iter().map(|note| ("note", note.clone())));
    facts
}

fn steps(steps: &[JobStep]) -> String {
    let mut table = Table::new(["ATTEMPT", "STEP", "NAME", "STATUS", "BEGAN", "TOOK"]);
    for step in steps {
        let took = step
            .ended_at
            .as_deref()
            .and_then(|ended| between(&step.began_at, ended));
        table.row([
            step.attempt.to_string(),
            step.step.to_string(),
            step.name.clone(),
            step.status.clone(),
            moment(&step.began_at),
            took.unwrap_or_else(|| "-".to_owned()),
        ]);
        if let Some(detail) = &step.detail {
            table.remark(detail);
        }
    }
    table.to_string()
}

fn disks(disks: &[JobDisk]) -> String {
    let mut table = Table::new([
        "DISK", "VOLUME", "MODE", "DATA", "WRITTEN", "VERIFIED", "DEVICE", "EXPORT",
    ]);
    let given = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string());
    for disk in disks {
        table.row([
            disk.disk_id.clone(),
            disk.volume_id.clone(),
            given(&disk.mode),
            size(disk.data_bytes),
            size(disk.written_bytes),
            size(disk.verified_bytes),
            given(&disk.device_path),
            given(&disk.export_name),
        ]);
        if let Some(reason) = &disk.reason {
            table.remark(reason);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::client::testing::job;
    use super::*;

    #[test]
    fn steps_disks_notes_error_and_hint_are_all_there() {
        let job = job(|it| {
            it["status"] = "failed".into();
            it["error"] = json!({"code": "x", "message": "the disk is gone", "hint": "look\u{1b}c at it"});
            it["notes"] = json!(["the guest was not brought to rest"]);
            it["steps"] = json!([{"attempt": 1, "step": 2, "name": "disks_analysed", "status": "failed",
                "detail": "no disk", "began_at": "2026-11-30T20:00:00Z", "ended_at": "2026-11-30T20:00:07Z"}]);
            it["disks"] = json!([{"disk_id": "disk-2000", "volume_id": "vol-1", "mode": "all",
                "reason": "the source keeps no track", "device_path": null, "export_name": null, "change_id": null,
                "data_bytes": 1_048_576, "written_bytes": null, "verified_bytes": null, "digest": null}]);
        });
        let text = text(&job);
        for expected in [
            "job-20261130-200000  failed\n",
            "machine   web (/DC/vm/web of vc)",
            "error     the disk is gone",
            "hint      look?c at it",
            "note      the guest was not brought to rest",
            "disks_analysed  failed",
            "7 s\n    ! no disk",
            "disk-2000  vol-1   all   1 MiB  -",
            "    ! the source keeps no track",
        ] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
    }
}
