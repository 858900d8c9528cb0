//! `GET /api/v1/events`: a stream of what changes, at most once a second for each transfer.
//!
//! It begins with every transfer that is under way, and tells of each that ends, those included that end with the process. It is no
//! record: who was away asks for the list.

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
use super::transfers::View;
use crate::pipeline::Transfer;

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
        looks: tokio::time::interval(PACE),
        api,
        has_ended: false,
    };
    let batches = stream::unfold(follower, |mut follower| async {
        let batch = follower.next_batch().await?;
        Some((stream::iter(batch), follower))
    });
    let events = batches.flatten().map(|transfer| Ok(message(transfer)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

struct Follower {
    api: Api,
    looks: Interval,
    told: Told,
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
    async fn next_batch(&mut self) -> Option<Vec<Transfer>> {
        while !self.has_ended {
            tokio::select! {
                () = self.api.stopping.cancelled() => self.has_ended = true,
                _ = self.looks.tick() => {}
            }
            let news = self.told.news(self.api.board.transfers());
            if !news.is_empty() {
                return Some(news);
            }
        }
        None
    }
}

fn message(transfer: Transfer) -> Event {
    let data = serde_json::to_string(&View::of(transfer)).expect("a transfer has only strings and numbers");
    Event::default().event("transfer").data(data)
}
