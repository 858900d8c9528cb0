//! Events as a stream: every change once and in order, from where the client left off.
//!
//! Events are rows, so a client that comes back with `Last-Event-ID` misses none, restarts of the daemon included.
//! A stream takes the next ones only when its client has taken those before: from memory where it keeps up, else from the
//! rows, so that a client that stalls costs no memory. Numbers have no holes; where a client was away longer than events are
//! kept, a comment in the stream says which ones are missing, and the hole in the numbers does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use volume_client::types::ErrorCode;

use super::Api;
use super::convert::event;
use super::extract::Params;
use super::problem::{ApiError, failure};
use crate::store::{EventRecord, Store, events};

/// How many events are read at a time.
const BATCH: u32 = 256;

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/events", get(follow))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FollowQuery {
    after: Option<i64>,
}

async fn follow(
    State(api): State<Api>,
    Params(query): Params<FollowQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let arrivals = api.store.event_ids();
    let latest = *arrivals.borrow();
    let follower = Follower {
        after: last_seen(&headers)?.or(query.after).unwrap_or(latest),
        store: api.store,
        arrivals,
        stopping: api.stopping,
    };
    let batches = stream::unfold(follower, |mut follower| async {
        let seen = follower.after;
        let batch = follower.next_batch().await?;
        Some((stream::iter(messages(seen, batch)), follower))
    });
    let events = batches.flatten().map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn last_seen(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| {
        failure(
            ErrorCode::InvalidRequest,
            "`Last-Event-ID` must be the number of an event",
        )
    })
}

/// The batch as it is told to a client that has seen all up to `seen`.
fn messages(seen: i64, batch: Vec<Arc<EventRecord>>) -> impl Iterator<Item = Event> {
    let first = batch.first().map_or(seen + 1, |event| event.id);
    let missed = (first > seen + 1).then(|| missed(seen + 1, first - 1));
    missed
        .into_iter()
        .chain(batch.into_iter().map(|event| message(&event)))
}

/// Says that the events from `first` to `last` are gone. A comment: clients pass over what they do not know.
fn missed(first: i64, last: i64) -> Event {
    Event::default().comment(format!("missed: events {first} to {last} are no longer kept"))
}

fn message(record: &EventRecord) -> Event {
    let wire = event::view(record);
    let data = serde_json::to_string(&wire).expect("an event has only strings, numbers and JSON");
    Event::default()
        .id(wire.id.to_string())
        .event(event::name(wire.kind))
        .data(data)
}

struct Follower {
    store: Store,
    after: i64,
    arrivals: watch::Receiver<i64>,
    stopping: CancellationToken,
}

impl Follower {
    /// The next events; `None` once the daemon stops or the store no longer answers.
    async fn next_batch(&mut self) -> Option<Vec<Arc<EventRecord>>> {
        loop {
            if self.stopping.is_cancelled() {
                return None;
            }
            self.arrivals.mark_unchanged();
            let batch = match self.store.latest_events(self.after) {
                Some(latest) => latest,
                None => self.read_rows().await?,
            };
            if let Some(last) = batch.last() {
                self.after = last.id;
                return Some(batch);
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                changed = self.arrivals.changed() => changed.ok()?,
            }
        }
    }

    async fn read_rows(&self) -> Option<Vec<Arc<EventRecord>>> {
        let after = self.after;
        let read = self.store.read(move |conn| events::after(conn, after, BATCH));
        let rows = read
            .await
            .inspect_err(|error| tracing::warn!(%error, "a stream of events ends"))
            .ok()?;
        Some(rows.into_iter().map(Arc::new).collect())
    }
}
