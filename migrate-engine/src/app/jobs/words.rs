//! Numbers and times of jobs, as they stand in tables and lines.

use std::time::Duration;

use jiff::Timestamp;

use super::super::client::Job;
use crate::model::{JobStatus, Size};

/// `2026-11-30 19:58:16Z`, without fractions; what is no time, as it is.
pub(super) fn moment(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// How long from one moment to another.
pub(super) fn between(began: &str, ended: &str) -> Option<String> {
    let (began, ended): (Timestamp, Timestamp) = (began.parse().ok()?, ended.parse().ok()?);
    let took = Duration::try_from(ended.duration_since(began)).ok()?;
    Some(duration(took.as_secs()))
}

/// `7 s`, `2 min 10 s`, `3 h 5 min`.
pub(super) fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

pub(super) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", Size(bytes_per_second))
}

/// How it stands; one that somebody wants stopped says so.
pub(super) fn standing(job: &Job) -> String {
    match job.cancel_requested && !job.status.is_final() {
        true => format!("{} (stopping)", job.status.as_str()),
        false => job.status.as_str().to_owned(),
    }
}

/// Bytes that really move, of how many, how fast, how long still.
pub(super) fn moved(job: &Job) -> String {
    let moved = &job.progress;
    let mut text = format!("{} of {}", Size(moved.data_done_bytes), Size(moved.data_bytes));
    text += &moved
        .rate_bytes_per_second
        .map_or_else(String::new, |it| format!(", {}", rate(it)));
    text += &moved
        .eta_seconds
        .map_or_else(String::new, |it| format!(", {} left", duration(it)));
    text
}

/// What is done now: the phase, and the step where that tells more.
pub(super) fn doing(job: &Job) -> String {
    match (job.status, job.step()) {
        (JobStatus::Pending, _) => "waits for its turn".to_owned(),
        (_, Some(step)) => format!("{}, {step}", job.phase),
        (_, None) => job.phase.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance_and_what_is_none_stays() {
        assert_eq!(moment("2026-11-30T19:58:16.123456Z"), "2026-11-30 19:58:16Z");
        assert_eq!(moment("soon"), "soon");
        assert_eq!([7, 130, 11_100].map(duration), ["7 s", "2 min 10 s", "3 h 5 min"]);
        let took = between("2026-11-30T19:58:16Z", "2026-11-30T20:00:26Z");
        assert_eq!(took.as_deref(), Some("2 min 10 s"));
        assert_eq!(between("2026-11-30T19:58:16Z", "2026-11-30T19:00:00Z"), None);
    }
}
