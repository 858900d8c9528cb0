//! `GET /api/v1/events`: a stream of what changes: `transfer`, at most once a second for each, and `replication`, at each of
//! its steps.
//!
//! It begins with all that is under way, and tells of each that ends, those included that end with the process. It is no
//! record: who was away asks for the lists.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Interval;

use super::Api;
use super::job::JobView;
use super::transfers::View;
use crate::pipeline::Transfer;
use crate::store::{JobFilter, JobRow};

/// How often the transfers are looked at.
const PACE: Duration = Duration::from_secs(1);
/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/events", get(follow))
}

async fn follow(State(api): State<Api>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let follower = Follower {
        told: Told::since(api.board.transfers()),
        jobs: Jobs::since(latest_jobs(&api)),
        looks: tokio::time::interval(PACE),
        api,
        has_ended: false,
    };
    let batches = stream::unfold(follower, |mut follower| async {
        let batch = follower.next_batch().await?;
        Some((stream::iter(batch), follower))
    });
    let events = batches.flatten().map(Ok);
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

struct Follower {
    api: Api,
    looks: Interval,
    told: Told,
    jobs: Jobs,
    /// The process ends, and the last news were told.
    has_ended: bool,
}

/// What a listener knows already, by id.
#[derive(Debug, Default)]
struct Told(BTreeMap<u64, Transfer>);

impl Told {
    /// What has ended before is no news.
    fn since(transfers: Vec<Transfer>) -> Self {
        let ended = transfers.into_iter().filter(|one| one.ended_at.is_some());
        Self(ended.map(|one| (one.id, one)).collect())
    }

    /// What is new of it; remembered as told.
    fn news(&mut self, transfers: Vec<Transfer>) -> Vec<Transfer> {
        let known: BTreeMap<_, _> = transfers.into_iter().map(|one| (one.id, one)).collect();
        let is_news = |one: &&Transfer| self.0.get(&one.id) != Some(one);
        let news = known.values().filter(is_news).cloned().collect();
        self.0 = known;
        news
    }
}

impl Follower {
    /// The next news; when the process ends the last ones, then `None`.
    async fn next_batch(&mut self) -> Option<Vec<Event>> {
        while !self.has_ended {
            tokio::select! {
                () = self.api.stopping.cancelled() => self.has_ended = true,
                _ = self.looks.tick() => {}
            }
            let moved = self.told.news(self.api.board.transfers());
            let mut news: Vec<_> = moved.into_iter().map(message).collect();
            let jobs = self.jobs.news(latest_jobs(&self.api));
            news.extend(jobs.into_iter().filter_map(|job| job_message(job, &self.api)));
            if !news.is_empty() {
                return Some(news);
            }
        }
        None
    }
}

/// Jobs that a listener knows, by id, as of when something last changed.
#[derive(Debug, Default)]
struct Jobs(BTreeMap<String, String>);

impl Jobs {
    /// What has ended before is no news.
    fn since(jobs: Vec<JobRow>) -> Self {
        let ended = jobs.into_iter().filter(|job| job.status.is_final());
        Self(ended.map(|job| (job.id, job.updated_at)).collect())
    }

    /// What is new of it, the oldest first; remembered as told.
    fn news(&mut self, mut jobs: Vec<JobRow>) -> Vec<JobRow> {
        let known = jobs.iter().map(|job| (job.id.clone(), job.updated_at.clone()));
        let known = known.collect();
        jobs.retain(|job| self.0.get(&job.id) != Some(&job.updated_at));
        jobs.reverse();
        self.0 = known;
        jobs
    }
}

/// More than can change between two looks.
const LATEST: u32 = 200;

fn latest_jobs(api: &Api) -> Vec<JobRow> {
    let Some(desk) = &api.desk else { return Vec::new() };
    let filter = JobFilter {
        status: None,
        context: None,
        before: None,
        limit: LATEST,
    };
    desk.store().jobs(&filter).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot look for jobs");
        Vec::new()
    })
}

fn job_message(job: JobRow, api: &Api) -> Option<Event> {
    let view = JobView::whole(job, api.desk.as_ref()?, &api.board).ok()?;
    let data = serde_json::to_string(&view).expect("a job has only strings and numbers");
    Some(Event::default().event("replication").data(data))
}

fn message(transfer: Transfer) -> Event {
    let data = serde_json::to_string(&View::of(transfer)).expect("a transfer has only strings and numbers");
    Event::default().event("transfer").data(data)
}
