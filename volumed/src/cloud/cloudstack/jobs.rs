//! Jobs: a command that changes something is started under an id of ours, and followed to its end however long that takes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::Inner;
use super::classify::{self, JobFailure, Setback};
use super::command::Command;
use super::envelope;
use super::error::Failure;
use super::volume::{is_id, state_of};
use super::wire::{self, PENDING, SUCCEEDED};
use crate::cloud::{Call, CloudError, Fate, ProviderState};

/// No pause between two questions is longer, unless the configured one is.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How much more often a job is asked for that has shown its effect.
const HURRY: u32 = 20;
/// No pause is shorter, unless the configured one is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// How many denials in a row end the following of a job: our keys were taken away.
const MOST_DENIALS: u32 = 10;
/// How many calls whose job has another id are remembered.
const REMEMBERED: usize = 1024;

const NOT_KNOWN: u8 = 0;
const TAKEN: u8 = 1;
const PASSED_OVER: u8 = 2;

/// What is known about jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Whether the server takes ids of ours: learned from its first answer.
    custom_ids: AtomicU8,
    /// Calls and the ids that the server chose for their jobs.
    renamed: Mutex<VecDeque<(String, String)>>,
    /// Something happened that a job may have brought about.
    nudged: Notify,
}

/// The pauses between questions: the first one short, then growing mildly.
struct Pace {
    next: Duration,
    interval: Duration,
    /// The next pause of a job that is about to end.
    quick: Option<Duration>,
}

/// A job that ended well.
#[derive(Debug)]
pub(super) struct Done {
    /// What it left, such as `{"volume": {…}}`.
    pub(super) result: Option<Value>,
}

impl Jobs {
    /// Has every job that is followed now asked for at once, and more often for a while.
    pub(super) fn nudge(&self) {
        self.nudged.notify_waiters();
    }

    /// Whether the server takes job ids of ours; `None` before its first job.
    pub(super) fn takes_our_ids(&self) -> Option<bool> {
        match self.custom_ids.load(Ordering::Relaxed) {
            NOT_KNOWN => None,
            known => Some(known == TAKEN),
        }
    }

    /// Whether the job is that of the call.
    pub(super) fn is_of(&self, call: &Call, job: &str) -> bool {
        self.id_of(call) == job
    }

    fn id_of(&self, call: &Call) -> String {
        let renamed = self.renamed.lock();
        let found = renamed.iter().rev().find(|(ours, _)| *ours == call.id);
        found.map_or_else(|| call.id.clone(), |(_, theirs)| theirs.clone())
    }

    fn learn(&self, call: &Call, job: &str) {
        let is_ours = call.id == job;
        let known = if is_ours { TAKEN } else { PASSED_OVER };
        if self.custom_ids.swap(known, Ordering::Relaxed) == NOT_KNOWN && !is_ours {
            tracing::warn!(
                "the management server takes no job ids of ours: lost answers are told by the volumes' state only"
            );
        }
        if !is_ours {
            let mut renamed = self.renamed.lock();
            if renamed.len() == REMEMBERED {
                renamed.pop_front();
            }
            renamed.push_back((call.id.clone(), job.to_owned()));
        }
    }
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self {
            next: interval / 4,
            interval,
            quick: None,
        }
    }

    /// The job has shown its effect, and is about to end: it is asked for more often again.
    fn hurry(&mut self) {
        self.quick = Some((self.interval / HURRY).max(SHORTEST_PAUSE)).filter(|quick| *quick < self.interval);
    }

    fn pause(&mut self) -> Duration {
        if let Some(quick) = self.quick {
            self.quick = Some(quick * 2).filter(|next| *next < self.interval);
            return quick;
        }
        let most = (self.interval * 5).min(LONGEST_PAUSE).max(self.interval);
        let next = self.next.mul_f64(1.25).clamp(self.interval, most);
        std::mem::replace(&mut self.next, next)
    }
}

impl Inner {
    /// Starts the command's job as that of `call`, or finds it started already, and follows it to its end. It is looked for
    /// first: a call may have been sent before, and the server may not refuse the id of a job that has ended.
    pub(super) async fn run(&self, call: &Call, command: Command) -> Result<Done, Setback> {
        let job = self.jobs.id_of(call);
        if self.job(&job).await.map_err(Setback::of_reading)?.is_some() {
            return self.follow(&job).await;
        }
        let failure = match self.api.call(&command.with("customjobid", &call.id)).await {
            Ok(answer) => {
                let job = answer.get("jobid").and_then(Value::as_str);
                let job = job.ok_or_else(|| Setback::unknown("the answer names no job"))?;
                self.jobs.learn(call, job);
                return self.follow(job).await;
            }
            Err(failure) => failure,
        };
        let was_answered = failure.refusal().is_some();
        let setback = Setback::of_request(failure);
        if !setback.may_have_made_a_job() {
            return Err(setback);
        }
        match self.job(&job).await {
            Ok(Some(_)) => self.follow(&job).await,
            // The server said no, takes ids of ours, and has no job of this one.
            Ok(None) if was_answered && self.jobs.takes_our_ids() == Some(true) => {
                Err(setback.without_effect())
            }
            _ => Err(setback.in_doubt()),
        }
    }

    /// Follows a job to its end. A question that fails is asked again: the job does not care.
    pub(super) async fn follow(&self, id: &str) -> Result<Done, Setback> {
        let (mut pace, mut denials) = (Pace::new(self.settings.poll_interval), 0);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pace.pause()) => {}
                () = self.jobs.nudged.notified() => pace.hurry(),
            }
            match self.job(id).await {
                Ok(Some(job)) if job.jobstatus == PENDING => denials = 0,
                Ok(Some(job)) if job.jobstatus == SUCCEEDED => {
                    return Ok(Done {
                        result: job.jobresult,
                    });
                }
                Ok(Some(job)) => {
                    let failure = JobFailure::new(job.jobresultcode, job.jobresult.as_ref());
                    return Err(Setback::of_job(id, &failure));
                }
                Ok(None) => return Err(Setback::unknown(format!("the server no longer knows job {id}"))),
                Err(failure) => {
                    denials = if failure.is_denial() { denials + 1 } else { 0 };
                    if denials == MOST_DENIALS {
                        return Err(Setback::of_request(failure).in_doubt());
                    }
                    tracing::warn!(job = id, error = %failure, "asking for a job failed; asking again");
                }
            }
        }
    }

    /// The job; `None` where the server does not know it: it never came to be, or ended a day ago.
    pub(super) async fn job(&self, id: &str) -> Result<Option<wire::Job>, Failure> {
        let command = Command::read("queryAsyncJobResult").with("jobid", id);
        match self.api.call(&command).await {
            Ok(content) => match content.get("jobstatus").and_then(envelope::integer) {
                Some(jobstatus) => Ok(Some(wire::Job {
                    jobstatus,
                    cmd: content.get("cmd").and_then(Value::as_str).map(str::to_owned),
                    jobresult: content.get("jobresult").cloned(),
                    jobresultcode: content.get("jobresultcode").and_then(envelope::integer),
                })),
                None => Err(Failure::NotCloudStack {
                    status: 200,
                    why: "it is a job without a status".to_owned(),
                }),
            },
            Err(failure) if failure.is_absence_of(id) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What became of a call whose answer was lost.
    pub(super) async fn fate_of(&self, call: &Call, provider_ref: Option<&str>) -> Result<Fate, CloudError> {
        let id = self.jobs.id_of(call);
        let doing = format!("looking for job {id}");
        let job = self
            .job(&id)
            .await
            .map_err(|failure| classify::reading(failure, &doing))?;
        if let Some(job) = job {
            return Ok(if job.jobstatus == PENDING {
                Fate::Pending(format!("job {id} ({})", short(job.cmd.as_deref())))
            } else {
                Fate::Ended
            });
        }
        let Some(volume) = provider_ref.filter(|text| is_id(text)) else {
            return Ok(Fate::Unseen);
        };
        Ok(match self.read(volume).await?.as_ref().map(state_of) {
            Some(ProviderState::Busy(what)) => Fate::Pending(format!("volume {volume}: {what}")),
            Some(ProviderState::Creating) => Fate::Pending(format!("volume {volume}: being made")),
            _ => Fate::Unseen,
        })
    }
}

/// `AttachVolumeCmd` of `org.apache.cloudstack.api.command.user.volume.AttachVolumeCmd`.
fn short(cmd: Option<&str>) -> &str {
    cmd.and_then(|class| class.rsplit('.').next())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> Call {
        Call { id: id.to_owned() }
    }

    #[test]
    fn pauses_begin_short_and_grow_mildly() {
        let seconds = |interval: u64, count: usize| -> Vec<f64> {
            let mut pace = Pace::new(Duration::from_secs(interval));
            (0..count).map(|_| pace.pause().as_secs_f64()).collect()
        };
        assert_eq!(seconds(2, 4), [0.5, 2.0, 2.5, 3.125]);
        assert!(seconds(2, 40).iter().all(|pause| *pause <= 10.0));
        assert_eq!(seconds(60, 4), [15.0, 60.0, 60.0, 60.0]);
        let mut quick = Pace::new(Duration::from_millis(20));
        assert_eq!(
            (0..60).map(|_| quick.pause()).max(),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn a_job_that_has_shown_its_effect_is_asked_for_more_often_for_a_while() {
        let mut pace = Pace::new(Duration::from_secs(2));
        pace.pause();
        pace.hurry();
        let pauses: Vec<f64> = (0..7).map(|_| pace.pause().as_secs_f64()).collect();
        assert_eq!(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.5]);
        let mut quick = Pace::new(Duration::from_millis(20));
        quick.hurry();
        assert!(quick.pause() < Duration::from_millis(21));
    }

    #[test]
    fn ids_of_the_server_are_remembered_within_bounds() {
        let jobs = Jobs::default();
        assert_eq!(jobs.takes_our_ids(), None);
        jobs.learn(&call("ours"), "ours");
        assert_eq!(
            (jobs.takes_our_ids(), jobs.is_of(&call("ours"), "ours")),
            (Some(true), true)
        );
        for number in 0..=REMEMBERED {
            jobs.learn(&call(&format!("c{number}")), &format!("j{number}"));
        }
        assert_eq!(jobs.takes_our_ids(), Some(false));
        assert!(!jobs.is_of(&call("c0"), "j0") && jobs.is_of(&call("c1"), "j1"));
        assert_eq!(jobs.renamed.lock().len(), REMEMBERED);
    }
}
