//! Following jobs until they have ended. Who stops following does not stop them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::super::client::{Client, ClientError, Job};
use super::super::{Ending, Form, human};
use super::failed;
use super::screen::Screen;
use crate::model::JobStatus;

/// Between two looks.
const PACE: Duration = Duration::from_millis(500);
/// How long a service that was there may be away: jobs go on when it comes back.
const ABSENCE: Duration = Duration::from_secs(120);

/// What became of jobs that were followed.
#[derive(Debug, Default)]
pub(in super::super) struct Followed {
    /// As they were last seen; those that were never seen are not there.
    pub(in super::super) jobs: Vec<Job>,
    /// Not all of them could be followed to their end.
    pub(in super::super) is_broken: bool,
    /// Somebody stopped the following.
    pub(in super::super) is_interrupted: bool,
}

impl Followed {
    pub(in super::super) fn ending(&self) -> Ending {
        let is_completed = |job: &Job| job.status == JobStatus::Completed;
        match () {
            () if self.is_interrupted => Ending::Cancelled,
            () if self.is_broken || !self.jobs.iter().all(is_completed) => Ending::Failed,
            () => Ending::Completed,
        }
    }

    fn keep(&mut self, job: Job) {
        match self.jobs.iter_mut().find(|known| known.id == job.id) {
            Some(known) => *known = job,
            None => self.jobs.push(job),
        }
    }
}

/// Follows these jobs until all have ended, or a signal comes. In the form of JSON, standard output is left alone.
pub(in super::super) async fn follow(
    client: &Client,
    ids: &[String],
    form: Form,
) -> anyhow::Result<Followed> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut followed = Followed::default();
    let is_done = tokio::select! {
        done = to_the_end(client, ids, Screen::new(form), &mut followed) => done.map(|()| true)?,
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
    };
    if !is_done {
        followed.is_interrupted = true;
        human::say(
            "no longer watching; the jobs go on: `migrate-engine watch` follows them, `migrate-engine cancel ID` stops one",
        );
    }
    Ok(followed)
}

async fn to_the_end(
    client: &Client,
    ids: &[String],
    mut screen: Screen,
    followed: &mut Followed,
) -> anyhow::Result<()> {
    // One may be named twice, and one that began while they were listed is listed twice.
    let mut live = Vec::new();
    for id in ids {
        if !live.contains(id) {
            live.push(id.clone());
        }
    }
    let mut absence = Absence::default();
    loop {
        let mut still = Vec::new();
        for id in live {
            match client.job(&id, Duration::ZERO).await {
                Ok(job) => {
                    absence.is_over(&screen);
                    match job.status.is_final() {
                        true => screen.ended(&job)?,
                        false => {
                            screen.show(&job);
                            still.push(id);
                        }
                    }
                    followed.keep(job);
                }
                Err(error) if error.may_pass() && absence.is_borne(&error, &screen, followed) => {
                    still.push(id)
                }
                Err(error) => {
                    screen.between(|| failed(&error));
                    followed.is_broken = true;
                    // Who has no job of this id may have the others.
                    if !matches!(error, ClientError::Refused { .. }) {
                        return Ok(());
                    }
                }
            }
        }
        live = still;
        if live.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Whether, and since when, the service is away.
#[derive(Default)]
struct Absence(Option<Instant>);

impl Absence {
    /// Whether it is waited for it. One that was never there is not.
    fn is_borne(&mut self, error: &ClientError, screen: &Screen, followed: &Followed) -> bool {
        if followed.jobs.is_empty() {
            return false;
        }
        let since = *self.0.get_or_insert_with(|| {
            screen.say(&format!("{error}; waiting for it, jobs go on when it is back"));
            Instant::now()
        });
        since.elapsed() < ABSENCE
    }

    fn is_over(&mut self, screen: &Screen) {
        if self.0.take().is_some() {
            screen.say("the service is back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::client::testing::job;
    use super::*;

    #[test]
    fn only_where_all_completed_is_it_well() {
        let with = |status: &str| job(|it| it["status"] = status.into());
        let ending = |statuses: &[&str], is_broken, is_interrupted| {
            let jobs = statuses.iter().map(|status| with(status)).collect();
            Followed {
                jobs,
                is_broken,
                is_interrupted,
            }
            .ending()
        };
        assert_eq!(
            ending(&["completed", "completed"], false, false),
            Ending::Completed
        );
        assert_eq!(ending(&["completed", "failed"], false, false), Ending::Failed);
        assert_eq!(ending(&["cancelled"], false, false), Ending::Failed);
        assert_eq!(ending(&["completed"], true, false), Ending::Failed);
        assert_eq!(ending(&["running"], false, true), Ending::Cancelled);
    }
}
