//! Jobs as a table, the newest first.

use super::super::client::Job;
use super::super::table::Table;
use super::words::{duration, moment, rate, standing};

pub(super) fn table(jobs: &[Job]) -> String {
    let mut table = Table::new([
        "ID", "VM", "TYPE", "STATUS", "PHASE", "DONE", "RATE", "LEFT", "SINCE",
    ]);
    let given = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for job in jobs {
        table.row([
            job.id.clone(),
            job.vm_name.clone(),
            job.replication_type.clone(),
            standing(job),
            job.phase.clone(),
            given(job.progress.percent.map(|percent| format!("{percent} %"))),
            given(job.progress.rate_bytes_per_second.map(rate)),
            given(job.progress.eta_seconds.map(duration)),
            moment(job.since()),
        ]);
        if let Some(error) = &job.error {
            table.remark(&error.message);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::client::testing::job;
    use super::*;

    #[test]
    fn a_job_is_a_line_and_why_it_failed_is_below_it() {
        let running = job(|it| {
            it["vm_name"] = "web\u{1b}[2J".into();
            it["progress"] = serde_json::json!({
                "percent": 42, "data_bytes": 100, "data_done_bytes": 42,
                "rate_bytes_per_second": 1_048_576, "eta_seconds": 130,
            });
            it["started_at"] = "2026-11-30T20:00:01.5Z".into();
        });
        let failed = job(|it| {
            it["id"] = "job-20261130-195900".into();
            it["status"] = "failed".into();
            it["error"] = serde_json::json!({"code": "x", "message": "the disk is gone", "hint": "look"});
        });
        let stopping = job(|it| it["cancel_requested"] = true.into());
        let text = table(&[running, failed, stopping]);
        let lines: Vec<_> = text.lines().collect();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(words(lines[0]), "ID VM TYPE STATUS PHASE DONE RATE LEFT SINCE");
        assert_eq!(
            words(lines[1]),
            "job-20261130-200000 web?[2J initial running DiskTransfer 42 % 1 MiB/s 2 min 10 s 2026-11-30 20:00:01Z"
        );
        assert!(
            lines[2].contains("failed") && lines[2].contains("  -  "),
            "{text}"
        );
        assert_eq!(lines[3], "    ! the disk is gone");
        assert!(lines[4].contains("running (stopping)"), "{text}");
    }
}
