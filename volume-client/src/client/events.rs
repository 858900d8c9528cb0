//! The stream of events, which connects again by itself and goes on after the last event that was seen.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Method, Response};
use tokio::time::{Instant, sleep, timeout};

use super::sse::{EventTooLarge, Frame, Parser};
use super::transport::{Described, is_transient, protocol, refusal};
use super::{ClientError, ProtocolError, VolumedClient};
use crate::types::Event;

/// Events in order. It ends after its first error.
pub type EventStream = BoxStream<'static, Result<Event, ClientError>>;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The daemon gives a sign of life every 15 s: after three that were missed the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(45);
/// How long the daemon may be away before the stream ends with an error.
const AWAY: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

impl VolumedClient {
    /// What changes, as it changes; with `after`, first all that came after that event.
    ///
    /// A connection that breaks or falls silent is made anew and goes on after the last event that was seen, so
    /// that none is lost or told twice. Without `after`, what happens before the first event is seen can be missed
    /// when the connection breaks. Ends with an error when the daemon is away for a minute, refuses, or sends
    /// what is no event.
    #[must_use]
    pub fn events(&self, after: Option<u64>) -> EventStream {
        self.follow(after, None)
    }

    /// As [`VolumedClient::events`], connected when this returns: what happens from now on is not missed, so that
    /// a listing made afterwards has no gap to the events.
    ///
    /// # Errors
    /// As for every reading, asked once, not repeated.
    pub async fn subscribe(&self, after: Option<u64>) -> Result<EventStream, ClientError> {
        let connection = self.connect_events(after).await?;
        Ok(self.follow(after, Some(connection)))
    }

    fn follow(&self, after: Option<u64>, connection: Option<Connection>) -> EventStream {
        let follower = Follower {
            client: self.clone(),
            last: after,
            connection,
            ready: VecDeque::new(),
        };
        stream::try_unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Ok(Some((event, follower)))
        })
        .boxed()
    }
}

struct Follower {
    client: VolumedClient,
    last: Option<u64>,
    connection: Option<Connection>,
    ready: VecDeque<Event>,
}

struct Connection {
    response: Response,
    parser: Parser,
    call: Described,
}

enum Received {
    Something,
    End,
}

impl Follower {
    async fn next(&mut self) -> Result<Event, ClientError> {
        let mut away_since = None;
        loop {
            while let Some(event) = self.ready.pop_front() {
                // Should the daemon repeat itself after a reconnection, each event is still told once.
                if self.last.is_none_or(|last| event.id > last) {
                    self.last = Some(event.id);
                    return Ok(event);
                }
            }
            let trouble = match self.receive().await {
                Ok(Received::Something) => {
                    away_since = None;
                    continue;
                }
                // As the daemon does when it stops; a new one goes on.
                Ok(Received::End) => {
                    let reason = "the daemon keeps ending the stream of events".to_owned();
                    protocol("GET /api/v1/events", ProtocolError::Content(reason))
                }
                Err(error) if !is_transient(&error) => return Err(error),
                Err(error) => error,
            };
            self.connection = None;
            let since = *away_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= AWAY {
                return Err(trouble);
            }
            tracing::debug!(error = %trouble, last = self.last, "the event stream broke, connecting again");
            sleep(PAUSE).await;
        }
    }

    /// One chunk; connects first where there is no connection.
    async fn receive(&mut self) -> Result<Received, ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.connect_events(self.last).await?,
        };
        let call = &connection.call;
        let chunk = match timeout(SILENCE, connection.response.chunk()).await {
            Err(_elapsed) => return Err(call.timed_out(SILENCE)),
            Ok(Err(error)) => return Err(call.failure(error)),
            Ok(Ok(None)) => return Ok(Received::End),
            Ok(Ok(Some(chunk))) => chunk,
        };
        let mut frames = Vec::new();
        connection
            .parser
            .feed(&chunk, &mut frames)
            .map_err(|EventTooLarge| {
                let limit = EventTooLarge::LIMIT;
                protocol(&call.what, ProtocolError::TooLarge { limit })
            })?;
        for frame in frames {
            self.ready.push_back(event(&call.what, &frame)?);
        }
        self.connection = Some(connection);
        Ok(Received::Something)
    }
}

fn event(what: &str, frame: &Frame) -> Result<Event, ClientError> {
    let event: Event =
        serde_json::from_str(&frame.data).map_err(|e| protocol(what, ProtocolError::Body(e)))?;
    if frame.id.as_ref().is_some_and(|id| *id != event.id.to_string()) {
        let reason = format!("event {} is sent under the id {:?}", event.id, frame.id);
        return Err(protocol(what, ProtocolError::Content(reason)));
    }
    Ok(event)
}

impl VolumedClient {
    async fn connect_events(&self, last: Option<u64>) -> Result<Connection, ClientError> {
        let mut builder = self
            .request(Method::GET, "/events")
            .header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            builder = builder.header(LAST_EVENT_ID, last);
        }
        let request = self.build(builder)?;
        let patience = self.inner.request_timeout;
        let call = self.describe(&request, patience);
        let sent = timeout(patience, self.http.execute(request)).await;
        let response = sent
            .map_err(|_| call.timed_out(patience))?
            .map_err(|e| call.failure(e))?;
        let status = response.status();
        if !status.is_success() {
            let body = super::transport::read_body(response, &call).await?;
            return Err(refusal(&call.what, status, &body));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let reason = format!("it is no event stream but {}", kind.unwrap_or("of no type"));
            return Err(protocol(&call.what, ProtocolError::Content(reason)));
        }
        Ok(Connection {
            response,
            parser: Parser::default(),
            call,
        })
    }
}
