//! What a wrong opening is explained with: what was done to the volume just before, by whom.

use jiff::{Timestamp, Unit};
use uuid::Uuid;

use super::scene::Scene;
use crate::cloudstack::{Job, Received};

/// So many lines at most.
const LINES: usize = 80;

/// Something that somebody did behind the daemon's back.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    at: Timestamp,
    volume: Uuid,
    what: &'static str,
}

impl Scene<'_> {
    /// Notes what somebody did to a volume, or with its serial.
    pub(super) fn note(&self, volume: Uuid, what: &'static str) {
        let at = Timestamp::now();
        self.deeds.lock().push(Deed { at, volume, what });
    }

    /// The latest of what was done about the volume, one line each, oldest first.
    pub(super) fn evidence(&self, volume: Uuid) -> String {
        let cloud = self.cloud.snapshot();
        let (deeds, id) = (self.deeds.lock().clone(), volume.to_string());
        let deeds = deeds.iter().filter(|deed| deed.volume == volume);
        let mut lines: Vec<(Timestamp, String)> = deeds.map(|deed| (deed.at, deed.what.to_owned())).collect();
        let jobs = cloud.jobs.iter().filter(|job| job.instance == volume);
        lines.extend(jobs.map(|job| (job.created, told_of(job))));
        let about = |one: &&Received| one.params.get("id") == Some(id.as_str());
        let received = cloud.received.iter().filter(about);
        lines.extend(received.map(|one| (one.at, format!("{} received: {:?}", one.command, one.fate))));
        lines.sort();
        // Of the same in a row the first is enough.
        lines.dedup_by(|later, earlier| later.1 == earlier.1);
        let lines = lines.split_off(lines.len().saturating_sub(LINES));
        let line = |(at, what): &(Timestamp, String)| {
            let at = at.round(Unit::Millisecond).unwrap_or(*at);
            format!("\n  {at} {what}")
        };
        lines.iter().map(line).collect()
    }
}

fn told_of(job: &Job) -> String {
    let who = if job.by_stranger { " of somebody else" } else { "" };
    let ended = job.completed.map_or_else(
        || "has not ended".to_owned(),
        |at| format!("ended at {at} with status {}", job.status()),
    );
    format!("job {}{who}: {ended}", job.command)
}
