//! The connections to one host, and one exchange over them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::LOCATION;
use hyper::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::super::{Endpoint, Patience, TrustError};
use super::super::{Thumbprint, Trust};
use super::connect::{Connection, Connector};
use super::{Care, HttpError, Outgoing};

/// So many connections are kept while nothing is on them.
const MOST_KEPT: usize = 16;
/// A kept connection that is not free by then is not what it seems.
const KEPT_READY: Duration = Duration::from_millis(200);

/// Which connection to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// One that was kept, if there is one.
    Kept,
    /// A new one.
    New,
}

/// The way to one host.
pub(in super::super) struct Channel {
    connector: Connector,
    patience: Patience,
    kept: Mutex<Vec<Connection>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) status: StatusCode,
    pub(in super::super) headers: HeaderMap,
    pub(in super::super) body: Bytes,
}

/// An answer of which the head is here and the body is on its way. Dropped, the connection is closed.
pub(in super::super) struct Arriving {
    pub(in super::super) status: StatusCode,
    pub(in super::super) headers: HeaderMap,
    body: Incoming,
    has_ended: bool,
    connection: Connection,
    channel: Arc<Channel>,
}

impl Channel {
    /// Connects to nothing yet. Blocks on the file system.
    pub(in super::super) fn new(
        endpoint: Endpoint,
        trust: &Trust,
        patience: Patience,
    ) -> Result<Self, TrustError> {
        Ok(Self {
            connector: Connector::new(endpoint, trust)?,
            patience,
            kept: Mutex::new(Vec::new()),
        })
    }

    pub(in super::super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    /// Of the certificate that the host showed last and that was believed; none before the first connection.
    pub(in super::super) fn thumbprint(&self) -> Option<Thumbprint> {
        self.connector.thumbprint()
    }

    pub(in super::super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Sends a request and reads the whole answer, of `largest` bytes at most.
    pub(in super::super) async fn exchange(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        care: Care,
        patience: Duration,
        largest: usize,
    ) -> Result<Answer, HttpError> {
        let way = if care == Care::Once { Way::New } else { Way::Kept };
        match self.attempt(outgoing, way, patience, largest).await {
            Err(error) if error.is_broken() && care == Care::Repeatable => {
                debug!(endpoint = %self.endpoint(), %error, "asked again over a new connection");
                self.kept.lock().clear();
                self.attempt(outgoing, Way::New, patience, largest).await
            }
            other => other,
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        way: Way,
        patience: Duration,
        largest: usize,
    ) -> Result<Answer, HttpError> {
        let connection = self.connection(way).await?;
        let whole = async {
            let arriving = self.send(connection, outgoing).await?;
            arriving.whole(largest).await
        };
        timeout(patience, whole)
            .await
            .unwrap_or_else(|_| Err(self.too_slow(patience)))
    }

    /// Sends a request and waits for the head of its answer. Nothing is repeated.
    pub(in super::super) async fn open(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        way: Way,
    ) -> Result<Arriving, HttpError> {
        let connection = self.connection(way).await?;
        let patience = self.patience.answer;
        timeout(patience, self.send(connection, outgoing))
            .await
            .unwrap_or_else(|_| Err(self.too_slow(patience)))
    }

    async fn connection(&self, way: Way) -> Result<Connection, HttpError> {
        if way == Way::Kept
            && let Some(connection) = self.kept().await
        {
            return Ok(connection);
        }
        self.connector.connect(&self.patience).await
    }

    async fn kept(&self) -> Option<Connection> {
        loop {
            let mut connection = self.kept.lock().pop()?;
            let ready = timeout(KEPT_READY, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock();
        if !connection.sender.is_closed() && kept.len() < MOST_KEPT {
            kept.push(connection);
        }
    }

    async fn send(
        self: &Arc<Self>,
        mut connection: Connection,
        outgoing: &Outgoing,
    ) -> Result<Arriving, HttpError> {
        let request = outgoing.request(&self.endpoint().to_string())?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(|error| self.lost(error))?;
        let (head, body) = response.into_parts();
        let arriving = Arriving {
            status: head.status,
            headers: head.headers,
            body,
            has_ended: false,
            connection,
            channel: Arc::clone(self),
        };
        if arriving.status.is_redirection() {
            return Err(arriving.redirect());
        }
        Ok(arriving)
    }

    fn lost(&self, error: hyper::Error) -> HttpError {
        HttpError::Lost {
            endpoint: self.endpoint().to_string(),
            source: error.into(),
        }
    }

    fn too_slow(&self, waited: Duration) -> HttpError {
        HttpError::TooSlow {
            endpoint: self.endpoint().to_string(),
            waited,
        }
    }
}

impl Arriving {
    /// The next bytes, or `None` at the end.
    pub(in super::super) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let stall = self.channel.patience.stall;
        loop {
            match timeout(stall, self.body.frame()).await {
                Err(_) => return Err(self.channel.too_slow(stall)),
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Ok(Some(Err(error))) => return Err(self.channel.lost(error)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Gives the connection back for further requests, if the body was read to its end.
    pub(in super::super) fn finish(self) {
        if self.has_ended || self.body.is_end_stream() {
            self.channel.keep(self.connection);
        }
    }

    /// The whole body, of `largest` bytes at most.
    pub(in super::super) async fn whole(mut self, largest: usize) -> Result<Answer, HttpError> {
        let mut body = BytesMut::new();
        while let Some(data) = self.next().await? {
            if body.len() + data.len() > largest {
                return Err(HttpError::TooLarge {
                    endpoint: self.channel.endpoint().to_string(),
                    limit: largest,
                });
            }
            body.extend_from_slice(&data);
        }
        let answer = Answer {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body: body.freeze(),
        };
        self.finish();
        Ok(answer)
    }

    fn redirect(&self) -> HttpError {
        let location = self.headers.get(LOCATION).map(|value| value.as_bytes());
        let location = String::from_utf8_lossy(location.unwrap_or_default());
        HttpError::Redirect {
            endpoint: self.channel.endpoint().to_string(),
            status: self.status.as_u16(),
            location: location.chars().take(120).flat_map(char::escape_debug).collect(),
        }
    }
}
